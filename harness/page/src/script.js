"use strict";
// Filters whatever has `data-find`; `data-differs` says that it is more than what was expected everywhere.
(() => {
  const form = document.querySelector("form.filter");
  const items = [...document.querySelectorAll("[data-find]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const counted = [...(form?.parentElement.querySelectorAll("tr[data-find]") ?? [])];
  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const differing = form.elements.differing?.checked;
    for (const item of items) {
      const fits = words.every((word) => item.dataset.find.includes(word));
      item.hidden = !fits || (differing && !("differs" in item.dataset));
    }
    for (const group of groups) {
      group.hidden = !group.querySelector("[data-find]:not([hidden])");
    }
    const shown = counted.filter((item) => !item.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${counted.length} shown`;
  };
  if (form) {
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.target.matches("input")) {
        event.preventDefault();
        form.elements.text.focus();
      }
    });
  }
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const box = target?.closest("details");
    if (box) {
      box.open = true;
      box.scrollIntoView();
      box.querySelector("summary").focus({ preventScroll: true });
    }
  };
  window.addEventListener("hashchange", open);
  open();
})();
