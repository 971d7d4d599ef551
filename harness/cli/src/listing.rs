//! Lists with aligned columns.

/// Returns a line for each row. All columns but the last are as wide as their longest cell.
pub fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_cells() {
        let rows = [
            ["6.12", "built: 6.12.107", "Debian's"],
            ["6.12-apparmor", "not built", "with – only – AppArmor"],
            ["…", "", ""],
        ];
        let text = lines(&rows.map(|row| row.map(str::to_owned)));
        insta::assert_snapshot!(text, @r"
        6.12           built: 6.12.107  Debian's
        6.12-apparmor  not built        with – only – AppArmor
        …
        ");
        assert_eq!(lines::<3>(&[]), "");
    }
}
