//! docs/GUARANTEES.md holds what it says: each promise of the README has a row there, and each test named there exists.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of the only table of docs/GUARANTEES.md, without its head.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines = document.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What the README promises: the words in bold at the start of each item of its chapter on guarantees.
fn promises(readme: &str) -> Vec<&str> {
    let chapter = readme
        .split("\n## ")
        .find(|chapter| chapter.starts_with("What it guarantees"));
    let items = chapter.expect("the README's chapter on guarantees").lines();
    items
        .filter_map(|line| line.strip_prefix("- **")?.split("**").next())
        .collect()
}

/// The names of all functions in the Rust sources under `directory`.
fn functions(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let starts = source.split("fn ").skip(1);
            names.extend(starts.filter_map(|rest| Some(rest[..rest.find(['(', '<'])?].to_owned())));
        }
    }
}

#[test]
fn every_promise_of_the_readme_has_its_row() {
    let (readme, document) = (read("README.md"), read("docs/GUARANTEES.md"));
    let proven: Vec<&str> = rows(&document).iter().map(|row| row[0]).collect();
    let promised = promises(&readme);
    assert!(promised.len() > 5, "{promised:?}");
    assert_eq!(proven, promised, "rows of docs/GUARANTEES.md, promises of the README");
}

#[test]
fn every_test_that_is_named_exists() {
    let document = read("docs/GUARANTEES.md");
    let mut names = BTreeSet::new();
    for directory in [
        "kafka-wire",
        "group-coordinator",
        "goka-core",
        "storage-redb",
        "testkit",
    ] {
        functions(&root().join(directory), &mut names);
    }
    for row in rows(&document) {
        let tests: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{}: no test", row[0]);
        for test in tests {
            assert!(names.contains(test), "{}: no test is named {test}", row[0]);
        }
    }
}
