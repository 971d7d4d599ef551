//! The helpers that programs of each type were granted, as a table with one line per helper.

use harness_scenario::layout::SweepLayout;
use harness_verdict::granted::GrantedHelpers;

use super::{
    causes::wrapped,
    line::{Emphasis, Line, line, one},
};

/// Each helper with the types that have it, and per column the types that lack it although their programs load there; then
/// the legend: the sets of types that have short names, and the helpers that no type has.
pub(super) fn lines(grid: &SweepLayout, granted: &GrantedHelpers) -> Vec<Line> {
    let columns: Vec<usize> = (0..grid.columns.len()).filter(|column| granted.has_programs(*column)).collect();
    let mut sets = Sets::new(&grid.rows);
    let (mut table, mut nobody) = (Vec::new(), Vec::new());
    for (id, name) in &granted.names {
        let having = granted.having(grid.rows.len(), *id);
        if having.is_empty() {
            nobody.push(name.as_str());
            continue;
        }
        let mut words = vec![sets.short(&having, &(0..grid.rows.len()).collect::<Vec<_>>())];
        words.extend(columns.iter().map(|column| lost(granted, *id, &having, *column, &mut sets)));
        table.push((name.as_str(), words));
    }
    let heads = std::iter::once("types").chain(columns.iter().map(|column| grid.columns[*column].head.as_str()));
    let mut lines = laid_out("helper", heads.map(str::to_owned).collect(), &table);
    lines.extend(legend(&sets, &nobody));
    lines
}

/// The types that have a helper but lack it in this column.
fn lost(granted: &GrantedHelpers, id: u32, having: &[usize], column: usize, sets: &mut Sets<'_>) -> String {
    let loaded: Vec<usize> = having.iter().copied().filter(|row| granted.of(*row, column).is_some()).collect();
    let lacks = |row: &usize| granted.of(*row, column).is_some_and(|ids| !ids.contains(id));
    let lost: Vec<usize> = loaded.iter().copied().filter(lacks).collect();
    match (loaded.is_empty(), lost.is_empty()) {
        (true, _) => ".".to_owned(),
        (false, true) => "-".to_owned(),
        (false, false) => sets.short(&lost, &loaded),
    }
}

fn laid_out(title: &str, heads: Vec<String>, table: &[(&str, Vec<String>)]) -> Vec<Line> {
    let first = table.iter().map(|(name, _)| name.chars().count()).chain([title.len()]).max().unwrap_or(0);
    let width = |at: usize| table.iter().map(|(_, words)| words[at].chars().count()).chain([heads[at].len()]).max();
    let widths: Vec<usize> = (0..heads.len()).map(|at| width(at).unwrap_or(0)).collect();
    let emphasized = |words: &[String], emphasis| words.iter().map(|word| (word.clone(), emphasis)).collect();
    let mut lines = vec![line(title, first, emphasized(&heads, Emphasis::Dim), &widths)];
    lines.extend(table.iter().map(|(name, words)| line(name, first, emphasized(words, Emphasis::Plain), &widths)));
    lines
}

fn legend(sets: &Sets<'_>, nobody: &[&str]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut section = |title: &str, texts: Vec<String>| {
        if !texts.is_empty() {
            lines.extend([Vec::new(), one(format!("{title}:"), Emphasis::Dim)]);
            lines.extend(texts.into_iter().map(|text| one(text, Emphasis::Plain)));
        }
    };
    section("sets of types", sets.long.iter().enumerate().flat_map(|(at, set)| sets.described(at, set)).collect());
    let names = if nobody.is_empty() { Vec::new() } else { wrapped("", &nobody.join(", ")) };
    section("helpers no type has", names);
    lines
}

/// Short names for sets of types.
struct Sets<'g> {
    names: &'g [String],
    /// The sets that have a name of their own, in order of first use.
    long: Vec<Vec<usize>>,
}

/// Up to this many types are listed one by one.
const FEW: usize = 3;

impl<'g> Sets<'g> {
    fn new(names: &'g [String]) -> Self {
        Self { names, long: Vec::new() }
    }

    /// The short text for a set of types within a larger set.
    fn short(&mut self, set: &[usize], of: &[usize]) -> String {
        let rest: Vec<usize> = of.iter().copied().filter(|row| !set.contains(row)).collect();
        match (set.len(), rest.len()) {
            (_, 0) => "all".to_owned(),
            (..=FEW, _) => self.list(set),
            (_, ..=FEW) => format!("all but {}", self.list(&rest)),
            _ => self.named(set),
        }
    }

    fn named(&mut self, set: &[usize]) -> String {
        let at = self.long.iter().position(|known| known == set).unwrap_or_else(|| {
            self.long.push(set.to_vec());
            self.long.len() - 1
        });
        title(at, set)
    }

    fn list(&self, set: &[usize]) -> String {
        set.iter().map(|row| self.names[*row].as_str()).collect::<Vec<_>>().join(", ")
    }

    fn described(&self, at: usize, set: &[usize]) -> Vec<String> {
        wrapped("", &format!("{}: {}", title(at, set), self.list(set)))
    }
}

fn title(at: usize, set: &[usize]) -> String {
    format!("set {} of {}", at + 1, set.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_scenario::layout::Column;

    fn column(head: &str) -> Column {
        Column { name: head.to_owned(), head: head.to_owned(), meaning: String::new() }
    }

    fn granted(found: &[((usize, usize), &str)]) -> GrantedHelpers {
        let names = ["lookup", "jiffies", "printk", "write", "nothing"];
        GrantedHelpers {
            names: names.iter().zip(1..).map(|(name, id)| (id, (*name).to_owned())).collect(),
            found: found.iter().map(|(at, ids)| (*at, ids.parse().unwrap())).collect(),
        }
    }

    fn text(grid: &SweepLayout, granted: &GrantedHelpers) -> String {
        let line = |line: Line| line.into_iter().map(|piece| piece.text).collect::<String>();
        lines(grid, granted).into_iter().map(|pieces| format!("{}\n", line(pieces).trim_end())).collect()
    }

    #[test]
    fn a_helper_has_its_types_and_where_they_lack_it() {
        let grid = SweepLayout {
            rows: ["xdp", "kprobe"].map(str::to_owned).to_vec(),
            columns: ["root", "-token", "-PERF"].map(column).to_vec(),
            ..SweepLayout::default()
        };
        let found = [((0, 0), "1-3"), ((1, 0), "1-4"), ((0, 2), "1-2")];
        let expected = "\
helper   types   root  -PERF
lookup   all     -     -
jiffies  all     -     -
printk   all     -     all
write    kprobe  -     .

helpers no type has:
nothing
";
        assert_eq!(text(&grid, &granted(&found)), expected);
    }

    #[test]
    fn a_helper_that_root_lacks_is_shown_for_root() {
        let grid = SweepLayout {
            rows: vec!["xdp".to_owned()],
            columns: ["root", "granted"].map(column).to_vec(),
            ..SweepLayout::default()
        };
        insta::assert_snapshot!(text(&grid, &granted(&[((0, 0), "1-2"), ((0, 1), "1-3")])), @"
        helper   types  root  granted
        lookup   all    -     -
        jiffies  all    -     -
        printk   all    all   -

        helpers no type has:
        write, nothing
        ");
    }

    #[test]
    fn long_lists_get_a_name_and_are_listed_once() {
        let rows: Vec<String> = (0..10).map(|at| format!("type{at}")).collect();
        let mut sets = Sets::new(&rows);
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(sets.short(&all, &all), "all");
        assert_eq!(sets.short(&all[..8], &all), "all but type8, type9");
        assert_eq!(sets.short(&all[..2], &all), "type0, type1");
        assert_eq!(sets.short(&all[..5], &all), "set 1 of 5");
        assert_eq!(sets.short(&all[4..9], &all), "set 2 of 5");
        assert_eq!(sets.short(&all[..5], &all), "set 1 of 5");
        assert_eq!(sets.described(0, &sets.long[0]), ["set 1 of 5: type0, type1, type2, type3, type4"]);
    }
}
