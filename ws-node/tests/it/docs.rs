//! The documentation names tests and code: what it names exists.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every `file.rs::name` of a text: the file and the last part of the name.
fn names(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| {
        let (path, name) = quoted.split_once("::").filter(|(path, _)| path.ends_with(".rs"))?;
        Some((path, name.rsplit("::").next()?))
    })
}

/// Where a file defines something of that name: the line's number.
fn definition(source: &str, name: &str) -> Option<usize> {
    let defines = |line: &str| {
        ["fn ", "struct ", "enum ", "trait "].into_iter().any(|keyword| {
            let rest = line.split_once(keyword).and_then(|(_, rest)| rest.strip_prefix(name));
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        })
    };
    source.lines().position(|line| !line.trim_start().starts_with("//") && defines(line))
}

fn is_test(source: &str, line: usize) -> bool {
    let above = source.lines().take(line).collect::<Vec<_>>();
    let mut attributes = above.iter().rev().map(|line| line.trim()).take_while(|line| line.starts_with("#["));
    attributes.any(|attribute| attribute == "#[test]" || attribute.starts_with("#[tokio::test"))
}

#[test]
fn every_name_in_the_table_of_faults_exists() {
    let page = read("docs/gim-faults.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| GIM's fault"))
        .map(|line| line.trim_matches('|').split('|').collect())
        .collect();
    assert!(rows.len() > 20, "only {} rows were found", rows.len());
    for row in rows {
        let [fault, construction, tests] = row[..] else { panic!("not three columns: {row:?}") };
        assert!(names(construction).chain(names(tests)).next().is_some(), "nothing rules out:{fault}");
        for (path, name) in names(construction) {
            assert!(definition(&read(path), name).is_some(), "{path} defines no {name}");
        }
        for (path, name) in names(tests) {
            let source = read(path);
            let line = definition(&source, name).unwrap_or_else(|| panic!("{path} has no test {name}"));
            assert!(is_test(&source, line), "{path}::{name} is no test");
        }
    }
    for (path, name) in names(&page) {
        assert!(definition(&read(path), name).is_some(), "{path} defines no {name}");
    }
}

#[test]
fn every_name_in_the_page_of_promises_exists() {
    let page = read("docs/semantics.md");
    let mut tests = 0;
    for (path, name) in names(&page) {
        let source = read(path);
        let line = definition(&source, name).unwrap_or_else(|| panic!("{path} defines no {name}"));
        assert!(is_test(&source, line), "{path}::{name} is no test");
        tests += 1;
    }
    assert!(tests > 30, "only {tests} names were found");
    let faults = page.split("## Faults").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a table of faults");
    let rows: Vec<&str> =
        faults.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault")).collect();
    assert!(rows.len() >= 12, "only {} faults", rows.len());
    for row in rows {
        assert!(names(row).next().is_some(), "nothing shows: {row}");
    }
}
