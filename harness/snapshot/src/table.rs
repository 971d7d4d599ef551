//! The table of a sweep, with the same text in snapshots and on terminals.

mod causes;
mod cells;
mod helpers;
mod layout;
mod line;

pub use layout::{layout, layout_within};
pub use line::{Emphasis, Line, StyledText};

#[cfg(test)]
mod tests {
    use harness_protocol::errno::Errno;
    use harness_scenario::{
        expect::Expect,
        layout::{AttemptRole, Column, SweepLayout, UncoveredName},
    };
    use harness_verdict::{
        judgement::{Case, Judgement, Row},
        reason::Reason,
        verdict::{Refusal, Verdict},
    };

    use crate::render;

    fn column(name: &str, head: &str) -> Column {
        Column { name: name.to_owned(), head: head.to_owned(), meaning: format!("the meaning of {name}") }
    }

    fn grid() -> SweepLayout {
        SweepLayout {
            of: "map types".to_owned(),
            rows: ["hash", "array", "sockmap"].map(str::to_owned).to_vec(),
            columns: vec![column("granted", "granted"), column("no_type", "-type")],
            absent: Vec::new(),
            orphans: Vec::new(),
        }
    }

    fn cell(row: usize, column: usize, verdict: Verdict, gift: Option<&str>) -> Row {
        let cause = gift.map(|gift| Reason::Missing { gifts: vec![gift.to_owned()], obstacles: Vec::new() });
        let (op, container) = ("map_create".to_owned(), "container".to_owned());
        Row {
            text: "map_create".to_owned(),
            op,
            container,
            expect: None,
            verdict,
            cause,
            part: AttemptRole::Cell { row, column },
            steps: Vec::new(),
            guard: Vec::new(),
        }
    }

    fn refusal(errno: i32) -> Refusal {
        Refusal { errno: Errno::from_raw(errno), step: None }
    }

    fn judgement(grid: SweepLayout, rows: Vec<Row>) -> Judgement {
        let case =
            Case { label: String::new(), mounted: vec![], disagreements: vec![], units: vec![], tokens: vec![], rows };
        Judgement {
            scenario: "a/b".parse().unwrap(),
            cases: vec![case],
            grid: Some(Box::new(grid)),
            helpers: None,
            crash: None,
            splats: vec![],
        }
    }

    /// A table with a verdict of every class, a gap, and causes that differ only in the row's own name.
    fn every_class() -> Vec<Row> {
        let ok = || Verdict::Allowed { detail: None };
        let unsupported = Verdict::Unsupported { refusal: refusal(22), reason: "CONFIG_X is not set".to_owned() };
        vec![
            cell(0, 0, ok(), None),
            cell(0, 1, Verdict::Denied(refusal(1)), Some("maps hash")),
            cell(1, 0, Verdict::Malformed(refusal(7)), None),
            cell(1, 1, Verdict::Denied(refusal(1)), Some("maps array")),
            cell(2, 0, unsupported, None),
        ]
    }

    #[test]
    fn a_sweep_is_one_table_with_its_causes() {
        let text = render::render(&judgement(grid(), every_class()));
        let expected = "\
3 map types under 2 circumstances, 5 attempts: 1 allowed, 2 denied, 1 unsupported, 1 malformed

granted  the meaning of granted
-type    the meaning of no_type
ok: allowed; errno: denied; -: unsupported; !errno: malformed; .: no such thing for this call

         granted  -type
hash     ok       EPERM
array    !E2BIG   EPERM
sockmap  -        .

why denied:
-type    lacks maps {row}: hash, array

why unsupported:
CONFIG_X is not set: sockmap
";
        assert_eq!(text, expected);
    }

    #[test]
    fn different_causes_of_a_column_have_a_line_each() {
        let denied = || Verdict::Denied(refusal(1));
        let rows = vec![
            cell(0, 1, denied(), Some("maps hash")),
            cell(1, 1, denied(), Some("CAP_BPF")),
            cell(2, 1, denied(), None),
        ];
        let text = render::render(&judgement(grid(), rows));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_denial_by_the_guard_names_the_rows_own_name_once() {
        let by_guard = |row: usize, what: &str| {
            let cause = Some(Reason::Guard { what: what.to_owned(), rule: Some(2) });
            Row { cause, ..cell(row, 1, Verdict::Denied(refusal(1)), None) }
        };
        let rows = vec![by_guard(0, "map type hash"), by_guard(1, "map type array"), by_guard(2, "101 entries")];
        let text = render::render(&judgement(grid(), rows));
        let (_, why) = text.split_once("why denied:\n").unwrap();
        let expected =
            "-type    guard: 101 entries (rule 2): sockmap\n         guard: map type {row} (rule 2): hash, array";
        assert_eq!(why.trim_end(), expected);
    }

    #[test]
    fn many_rows_are_counted_and_a_column_like_another_refers_to_it() {
        let rows: Vec<String> = (0..6).map(|row| format!("type{row}")).collect();
        let grid = SweepLayout { rows, ..grid() };
        let gift = |row: usize| if row == 2 { "token" } else { "CAP_BPF" };
        let cells =
            |column: usize| (0..6).map(move |row| cell(row, column, Verdict::Denied(refusal(1)), Some(gift(row))));
        let text = render::render(&judgement(grid.clone(), cells(0).chain(cells(1)).collect()));
        insta::assert_snapshot!("some_rows_are_counted", text);
        let text = render::render(&judgement(grid, cells(0).filter(|cell| gift(cell_row(cell)) != "token").collect()));
        insta::assert_snapshot!("all_rows_are_counted", text);
    }

    fn cell_row(row: &Row) -> usize {
        if let AttemptRole::Cell { row, .. } = row.part { row } else { panic!("{row:?}") }
    }

    #[test]
    fn preparations_have_no_verdicts_but_a_wrong_one_is_a_problem() {
        let mut prepared = cell(0, 0, Verdict::Malformed(refusal(22)), None);
        prepared.part = AttemptRole::Preparation;
        let judgement = judgement(grid(), vec![prepared, cell(0, 1, Verdict::Denied(refusal(1)), None)]);
        assert_eq!(judgement.rows().count(), 1);
        let problems: Vec<String> = judgement.problems().into_iter().map(|problem| problem.subject).collect();
        assert_eq!(problems, ["preparation 1 (map_create)"]);
    }

    #[test]
    fn a_wrong_cell_is_reported_by_row_and_arm_and_a_name_without_a_recipe_by_itself() {
        let orphans = vec![UncoveredName { name: "new_type".to_owned(), advice: "add a recipe".to_owned() }];
        let mut wrong = cell(0, 1, Verdict::Allowed { detail: None }, None);
        wrong.expect = Some(Expect::Denied);
        let judgement = judgement(SweepLayout { orphans, ..grid() }, vec![wrong]);
        let problems: Vec<(String, String)> = judgement.problems().into_iter().map(|p| (p.subject, p.what)).collect();
        let expected = [("hash, no_type (map_create)", "expected denied, got allowed"), ("`new_type`", "add a recipe")];
        assert_eq!(problems, expected.map(|(subject, what)| (subject.to_owned(), what.to_owned())));
        insta::assert_snapshot!(render::render(&judgement));
    }
}
