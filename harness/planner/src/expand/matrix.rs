//! The combinations of a scenario's matrix, and its placeholders.

use std::{collections::BTreeMap, ops::Range};

use harness_diagnostics::{
    node::{Entry, KeyPath, Node, Shape},
    report::Problem,
    suggest::{did_you_mean, one_of},
};
use harness_scenario::choice::{Axis, KnownSet};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};
use serde_json::Value;

use crate::recipe;

/// The keys of a scenario below which placeholders are replaced.
const TEMPLATED: [&str; 4] = ["delegate", "container", "containers", "attempt"];

/// A combination: one value of each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combination(BTreeMap<String, String>);

impl Combination {
    /// Returns what distinguishes it from others, such as `type=hash`; empty without a matrix.
    pub(crate) fn label(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        parts.join(" ")
    }

    /// Replaces each `{axis}` in the template by the value of this combination.
    pub(crate) fn fill(&self, template: &Value) -> Value {
        let mut filled = template.clone();
        for part in TEMPLATED {
            if let Some(value) = filled.get_mut(part) {
                self.fill_strings(value);
            }
        }
        filled
    }

    fn fill_strings(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.contains('{') => *text = self.filled(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_strings(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.fill_strings(member)),
            _ => {}
        }
    }

    fn filled(&self, text: &str) -> String {
        let piece = |piece: Piece<'_>| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Placeholder(axis) => self.0.get(axis).cloned().unwrap_or_default(),
        };
        pieces(text).map(|pieces| pieces.into_iter().map(piece).collect()).unwrap_or_else(|Unbalanced| text.to_owned())
    }
}

/// Returns the values of each axis. A set of known names is all that this resolver knows, except types that need
/// another object.
pub(crate) fn axes(matrix: &BTreeMap<String, Axis>, resolver: &NameResolver<'_>) -> BTreeMap<String, Vec<String>> {
    let values = |axis: &Axis| match axis {
        Axis::Listed(values) => values.clone(),
        Axis::Known(set) => known_names(*set, resolver),
    };
    matrix.iter().map(|(name, axis)| (name.clone(), values(axis))).collect()
}

fn known_names(set: KnownSet, resolver: &NameResolver<'_>) -> Vec<String> {
    let kind = match set {
        KnownSet::MapTypes => Kind::Map,
        KnownSet::ProgTypes => Kind::Prog,
        KnownSet::AttachTypes => Kind::Attach,
        KnownSet::Cmds => Kind::Cmd,
    };
    let describable = |name: &&str| match kind {
        Kind::Map => *name != "unspec" && !recipe::needs_types(name) && !recipe::holds_maps(name),
        Kind::Prog => *name != "unspec" && !recipe::replaces(name),
        Kind::Cmd | Kind::Attach => true,
    };
    resolver.table(kind).iter().map(|known| known.name.as_str()).filter(describable).map(str::to_owned).collect()
}

/// Returns the number of combinations; `None` if it overflows.
pub(crate) fn count(axes: &BTreeMap<String, Vec<String>>) -> Option<usize> {
    axes.values().try_fold(1_usize, |product, values| product.checked_mul(values.len()))
}

/// Returns every combination; the last axis changes fastest.
pub(crate) fn combinations(axes: &BTreeMap<String, Vec<String>>) -> Vec<Combination> {
    let mut all = vec![Combination::default()];
    for (axis, values) in axes {
        let extended = |combination: &Combination, value: &String| {
            let mut bindings = combination.0.clone();
            bindings.insert(axis.clone(), value.clone());
            Combination(bindings)
        };
        all = all.iter().flat_map(|combination| values.iter().map(move |value| extended(combination, value))).collect();
    }
    all
}

/// Returns problems with placeholders and axes that do not belong together, and the strings with a placeholder that has
/// no value.
pub(crate) fn placeholder_problems(root: &Node, matrix: &BTreeMap<String, Axis>) -> (Vec<Problem>, Vec<Range<usize>>) {
    let Shape::Table(entries) = &root.shape else { return Default::default() };
    let path = KeyPath::default();
    let mut search = Search {
        matrix,
        complete: root.is_complete(&path.key("matrix")),
        used: Vec::new(),
        problems: Vec::new(),
        unfilled: Vec::new(),
    };
    for part in TEMPLATED {
        if let Some(entry) = entries.get(part) {
            search.node(&entry.node);
        }
    }
    let Search { used, mut problems, unfilled, .. } = search;
    if unfilled.is_empty() && root.is_whole(&path) {
        problems.extend(unused_axes(entries, &used));
    }
    (problems, unfilled)
}

fn unused_axes(entries: &BTreeMap<String, Entry>, used: &[String]) -> Vec<Problem> {
    let Some(Shape::Table(written)) = entries.get("matrix").map(|entry| &entry.node.shape) else { return Vec::new() };
    let unused = written.iter().filter(|(axis, _)| !used.contains(axis));
    let problem = |(axis, entry): (&String, &Entry)| {
        let message = format!("the axis `{}` is not used", axis.escape_debug());
        Problem::new(entry.key_span.clone(), message).help(format!("write `{{{axis}}}` where its values belong"))
    };
    unused.map(problem).collect()
}

struct Search<'m> {
    matrix: &'m BTreeMap<String, Axis>,
    /// Whether the matrix has all axes that are written.
    complete: bool,
    used: Vec<String>,
    problems: Vec<Problem>,
    unfilled: Vec<Range<usize>>,
}

impl Search<'_> {
    fn node(&mut self, node: &Node) {
        match &node.shape {
            Shape::Table(entries) => entries.values().for_each(|entry| self.node(&entry.node)),
            Shape::Array(items) => items.iter().for_each(|item| self.node(item)),
            Shape::String(text) => self.text(node, text),
            Shape::Integer(_) | Shape::Boolean(_) | Shape::Other(_) => {}
        }
    }

    fn text(&mut self, node: &Node, text: &str) {
        let Ok(pieces) = pieces(text) else {
            let problem = Problem::new(node.span.clone(), "unbalanced brace");
            self.problems.push(problem.help("`{name}` stands for a value of the matrix"));
            self.unfilled.push(node.span.clone());
            return;
        };
        for axis in
            pieces.into_iter().filter_map(|piece| if let Piece::Placeholder(axis) = piece { Some(axis) } else { None })
        {
            match self.matrix.contains_key(axis) {
                true => self.used.push(axis.to_owned()),
                false => self.unknown(node, axis),
            }
        }
    }

    fn unknown(&mut self, node: &Node, axis: &str) {
        self.unfilled.push(node.span.clone());
        if !self.complete {
            return;
        }
        let names = || self.matrix.keys().map(String::as_str);
        let advice = did_you_mean(axis, names()).unwrap_or_else(|| match self.matrix.is_empty() {
            true => format!("add `{axis} = [...]` to `[matrix]`"),
            false => one_of(names()),
        });
        let message = format!("the matrix has no axis `{}`", axis.escape_debug());
        self.problems.push(Problem::new(node.span.clone(), message).help(advice));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Placeholder(&'t str),
}

#[derive(Debug, PartialEq, Eq)]
struct Unbalanced;

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Unbalanced> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (axis, following) = after.split_once('}').ok_or(Unbalanced)?;
        if before.contains('}') || axis.contains('{') {
            return Err(Unbalanced);
        }
        pieces.extend([Piece::Text(before), Piece::Placeholder(axis)]);
        rest = following;
    }
    if rest.contains('}') {
        return Err(Unbalanced);
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes_of(axes: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        axes.iter().map(|(axis, values)| ((*axis).to_owned(), owned(values))).collect()
    }

    #[test]
    fn the_product_of_all_axes() {
        let axes = axes_of(&[("a", &["1", "2"]), ("b", &["x", "y"])]);
        let labels: Vec<String> = combinations(&axes).iter().map(Combination::label).collect();
        assert_eq!(labels, ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]);
        assert_eq!(count(&axes), Some(4));
        assert_eq!(combinations(&BTreeMap::new()), [Combination::default()]);
    }

    #[test]
    fn placeholders_are_filled_only_where_they_mean_something() {
        let combination = &combinations(&axes_of(&[("a", &["1"])]))[0];
        let template = serde_json::json!({"summary": "{a}", "attempt": [{"type": "x{a}y{a}"}]});
        let filled = combination.fill(&template);
        assert_eq!(filled, serde_json::json!({"summary": "{a}", "attempt": [{"type": "x1y1"}]}));
    }

    #[test]
    fn braces_must_pair() {
        for wrong in ["{", "}", "a}b{c", "{a{b}", "{a}}"] {
            assert_eq!(pieces(wrong), Err(Unbalanced), "{wrong}");
        }
        assert_eq!(pieces("a{b}"), Ok(vec![Piece::Text("a"), Piece::Placeholder("b"), Piece::Text("")]));
    }
}
