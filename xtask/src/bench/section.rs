//! Sections of docs/performance.md: each verb writes its own and keeps the others.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use harness_builder::file;
use harness_cli::screen;
use harness_runner::resources::Resources;

/// The page with all figures.
pub(super) const PAGE: &str = "docs/performance.md";

/// How a section begins, and the one after it.
const HEADING: &str = "\n## ";

/// Prints a section, which begins with its heading, and writes it to the page unless it shall only be printed.
pub(super) fn deliver(resources: &Resources, section: &str, print_only: bool) -> Result<()> {
    screen::print(section)?;
    if print_only {
        return Ok(());
    }
    let path = resources.project().root().join(PAGE);
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    write(&path, &replaced(&before, section))
}

/// Writes the page.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    file::replace(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    screen::print(&format!("wrote {PAGE}\n"))
}

/// Returns the section with this heading; nothing if there is none.
pub(super) fn of<'a>(page: &'a str, heading: &str) -> &'a str {
    let Some(start) = page.find(heading) else { return "" };
    let text = start + heading.len();
    &page[start..page[text..].find(HEADING).map_or(page.len(), |end| text + end)]
}

/// Replaces the section with the same heading, or adds it at the end.
fn replaced(page: &str, section: &str) -> String {
    let heading: &str = section.split_inclusive('\n').nth(1).unwrap_or_default();
    match of(page, &format!("\n{heading}")) {
        "" => format!("{page}{section}"),
        before => page.replacen(before, section, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# P\n\nopening\n\n## One\n\n1\n\n### Part\n\n1.1\n\n## Two\n\n2\n";

    #[test]
    fn a_section_reaches_to_the_next_heading_of_its_level() {
        assert_eq!(of(PAGE, "\n## One\n"), "\n## One\n\n1\n\n### Part\n\n1.1\n");
        assert_eq!(of(PAGE, "\n## Two\n"), "\n## Two\n\n2\n");
        assert_eq!(of(PAGE, "\n## Three\n"), "");
    }

    #[test]
    fn only_the_section_itself_is_replaced() {
        let page = replaced(PAGE, "\n## One\n\nnew\n");
        assert_eq!(page, "# P\n\nopening\n\n## One\n\nnew\n\n## Two\n\n2\n");
        assert_eq!(replaced("# P\n", "\n## Two\n\n2\n"), "# P\n\n## Two\n\n2\n");
    }
}
