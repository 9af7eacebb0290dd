//! The dependency rules of docs/ARCHITECTURE.md, checked against the sources and manifests of all crates.
//!
//! ```text
//!  kafka-wire <- group-coordinator <- goka-core <- storage-redb <- testkit <- examples, bench
//!
//!  inside kafka-wire:   admin   producer   fetcher      may use everything below, not each other
//!                       client
//!                       cluster
//!                       connection
//!                       transport
//!                       protocol, config, surroundings  use nothing of ours, but config names surroundings
//! ```
//!
//! A path counts wherever it is written, in a `use` or in the middle of a function, in tests too.

#[path = "layering/scan.rs"]
mod scan;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate and the crates of ours it may name, in its sources and in its manifest.
const CRATES: &[(&str, &[&str])] = &[
    ("kafka-wire", &[]),
    ("group-coordinator", &["kafka-wire"]),
    ("goka-core", &["group-coordinator", "kafka-wire"]),
    ("storage-redb", &["goka-core"]),
    (
        "testkit",
        &["storage-redb", "goka-core", "group-coordinator", "kafka-wire"],
    ),
    ("examples", &["testkit", "storage-redb", "goka-core", "kafka-wire"]),
    (
        "bench",
        &[
            "testkit",
            "storage-redb",
            "goka-core",
            "group-coordinator",
            "kafka-wire",
        ],
    ),
];

/// A crate that may use only one module of another.
const DOORS: &[(&str, &str, &str)] = &[("storage-redb", "goka_core", "storage")];

/// The modules of kafka-wire and those each may name.
const KAFKA_WIRE: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("surroundings", &[]),
    ("config", &["surroundings"]),
    ("transport", &["protocol"]),
    ("connection", &["transport", "config", "protocol"]),
    ("cluster", &["connection", "transport", "config", "protocol"]),
    ("client", &["cluster", "connection", "transport", "config", "protocol"]),
    (
        "admin",
        &["client", "cluster", "connection", "transport", "config", "protocol"],
    ),
    (
        "producer",
        &["client", "cluster", "connection", "transport", "config", "protocol"],
    ),
    (
        "fetcher",
        &["client", "cluster", "connection", "transport", "config", "protocol"],
    ),
];

#[test]
fn every_crate_names_only_crates_below_it() {
    let mut wrong = Vec::new();
    for (name, _) in CRATES {
        for file in sources(name) {
            wrong.extend(
                crate_violations(name, &file.text)
                    .into_iter()
                    .map(|v| format!("{}:{v}", file.path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_kafka_wire_names_only_modules_below_it() {
    let files = sources("kafka-wire");
    let root = files
        .iter()
        .find(|f| f.path.ends_with("src/lib.rs"))
        .expect("kafka-wire has a root");
    let mut wrong = Vec::new();
    let mut checked = BTreeMap::new();
    for file in files.iter().filter(|f| !f.module.is_empty()) {
        let module: Vec<&str> = file.module.iter().map(String::as_str).collect();
        let found = module_violations(&module, &file.text, &root.text);
        wrong.extend(found.into_iter().map(|v| format!("{}:{v}", file.path.display())));
        *checked.entry(module[0].to_owned()).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, _) in KAFKA_WIRE {
        assert!(
            checked.contains_key(*module),
            "no source of kafka_wire::{module} was seen"
        );
    }
}

#[test]
fn every_manifest_names_only_crates_below_its_own() {
    let mut wrong = Vec::new();
    for (name, _) in CRATES {
        let path = workspace().join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("every crate has a manifest");
        wrong.extend(
            manifest_violations(name, &manifest)
                .into_iter()
                .map(|v| format!("{}:{v}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_that_names_one_above_it_is_found() {
    let found = crate_violations("kafka-wire", "fn f() {\n    goka_core::graph();\n}");
    assert_eq!(found, ["2: kafka-wire may not use goka_core::graph"]);
    assert_eq!(crate_violations("goka-core", "use testkit::EmbeddedBroker;").len(), 1);
    assert_eq!(
        crate_violations("goka-core", "use kafka_wire::{Client, Fetcher};"),
        Vec::<String>::new()
    );
}

#[test]
fn a_store_that_uses_more_than_the_storage_contract_is_found() {
    let source = "use goka_core::storage::Row;\nuse goka_core::{processor, storage};\nuse goka_core;";
    let found = crate_violations("storage-redb", source);
    assert_eq!(
        found,
        [
            "2: storage-redb may use goka_core::storage only, not goka_core::processor",
            "3: storage-redb may use goka_core::storage only, not goka_core",
        ]
    );
}

#[test]
fn a_module_that_reaches_up_or_sideways_is_found() {
    let root = "pub mod client; pub use client::Client; pub use protocol::error_code::ErrorCode;";
    let check = |module: &[&str], source: &str| module_violations(module, source, root);
    assert_eq!(
        check(&["protocol", "batch"], "use crate::client::Client;"),
        ["1: protocol may not use client"]
    );
    assert_eq!(
        check(&["fetcher"], "use crate::producer::Ack;"),
        ["1: fetcher may not use producer"]
    );
    assert_eq!(
        check(&["connection", "driver"], "use super::super::cluster::X;"),
        ["1: connection may not use cluster"]
    );
    assert_eq!(
        check(&["producer"], "use crate::{client, protocol::batch};"),
        Vec::<String>::new()
    );
}

#[test]
fn a_re_export_of_the_crate_root_hides_nothing() {
    let root = "pub use client::Client; pub use protocol::error_code::ErrorCode;";
    let check = |source: &str| module_violations(&["transport"], source, root);
    assert_eq!(check("use crate::Client;"), ["1: transport may not use client"]);
    assert_eq!(check("use crate::ErrorCode;"), Vec::<String>::new());
    assert_eq!(
        check("use crate::Unheard;"),
        ["1: transport uses crate::Unheard, which no rule knows"]
    );
}

#[test]
fn a_manifest_that_names_testkit_is_found_in_every_table_and_spelling() {
    for line in [
        "testkit.workspace = true",
        "testkit = { path = \"../testkit\" }",
        "\"testkit\" = \"0.1\"",
    ] {
        for table in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let manifest = format!("[package]\nname = \"goka-core\"\n\n[{table}]\nbytes = \"1\"\n{line}\n");
            assert_eq!(
                manifest_violations("goka-core", &manifest),
                ["6: goka-core may not depend on testkit"]
            );
        }
    }
    let renamed = "[dev-dependencies]\nkit = { package = \"testkit\", path = \"../testkit\" }\n";
    assert_eq!(
        manifest_violations("kafka-wire", renamed),
        ["2: kafka-wire may not depend on testkit"]
    );
    let own_table = "[dev-dependencies.testkit]\npath = \"../testkit\"\n";
    assert_eq!(
        manifest_violations("kafka-wire", own_table)[0],
        "1: kafka-wire may not depend on testkit"
    );
}

/// Crates of ours that `source`, a file of crate `name`, uses against the table.
fn crate_violations(name: &str, source: &str) -> Vec<String> {
    let idents: Vec<String> = CRATES.iter().map(|(name, _)| name.replace('-', "_")).collect();
    let idents: Vec<&str> = idents.iter().map(String::as_str).collect();
    let allowed: Vec<String> = allowed(CRATES, name)
        .iter()
        .map(|name| name.replace('-', "_"))
        .collect();
    let mut found = Vec::new();
    for path in scan::paths(source, &[], &idents) {
        let used = &path.segments[0];
        let own = used == "crate" || *used == name.replace('-', "_");
        let door = DOORS.iter().find(|(from, to, _)| *from == name && to == used);
        if let Some((_, _, module)) = door.filter(|(_, _, m)| path.segments.get(1).is_none_or(|s| s != m)) {
            let whole = path.segments[..path.segments.len().min(2)].join("::");
            found.push(format!(
                "{}: {name} may use {used}::{module} only, not {whole}",
                path.line
            ));
        } else if !own && !allowed.contains(used) {
            found.push(format!(
                "{}: {name} may not use {}",
                path.line,
                path.segments.join("::")
            ));
        }
    }
    found
}

/// Modules that `source`, which stands at `module` in kafka-wire, uses against the table.
fn module_violations(module: &[&str], source: &str, root: &str) -> Vec<String> {
    let own = module[0];
    let re_exports: BTreeMap<String, String> = scan::imports(root)
        .into_iter()
        .filter_map(|(name, path)| {
            let first = path.segments.iter().find(|s| !matches!(s.as_str(), "self" | "crate"))?;
            Some((name, first.clone()))
        })
        .collect();
    let known = |name: &str| KAFKA_WIRE.iter().any(|(module, _)| *module == name);
    let mut found = Vec::new();
    for path in scan::paths(source, module, &[]) {
        let Some(named) = path.segments.get(1) else { continue };
        let used = if known(named) {
            named
        } else {
            re_exports.get(named).unwrap_or(named)
        };
        if used == own || allowed(KAFKA_WIRE, own).contains(&used.as_str()) {
            continue;
        }
        let what = if known(used) {
            format!("{own} may not use {used}")
        } else {
            format!("{own} uses crate::{named}, which no rule knows")
        };
        found.push(format!("{}: {what}", path.line));
    }
    found
}

/// Crates of ours that a manifest depends on against the table.
fn manifest_violations(name: &str, manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line
            .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'))
            .filter(|w| !w.is_empty());
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        }
        if !in_dependencies {
            continue;
        }
        let named = words.find(|word| {
            CRATES
                .iter()
                .any(|(other, _)| other == word && *other != name && !allowed(CRATES, name).contains(other))
        });
        found.extend(named.map(|other| format!("{}: {name} may not depend on {other}", number + 1)));
    }
    found
}

fn allowed<'t>(table: &[(&str, &'t [&'t str])], name: &str) -> &'t [&'t str] {
    let row = table.iter().find(|(row, _)| *row == name);
    row.map(|(_, allowed)| *allowed).unwrap_or_default()
}

struct Source {
    path: PathBuf,
    /// Where it stands in its crate; empty for roots, tests and binaries.
    module: Vec<String>,
    text: String,
}

/// Every Rust source of a crate. No crate is without any: a moved directory must not pass unseen.
fn sources(name: &str) -> Vec<Source> {
    let root = workspace().join(name);
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["src", "tests", "benches", "examples"]
        .iter()
        .map(|d| root.join(d))
        .collect();
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("a readable directory").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a readable source");
                found.push(Source {
                    module: module_of(&root.join("src"), &path),
                    path,
                    text,
                });
            }
        }
    }
    assert!(!found.is_empty(), "{name} has no sources");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// `src/fetcher/session.rs` is `fetcher::session`, `src/fetcher/mod.rs` is `fetcher`.
fn module_of(src: &Path, path: &Path) -> Vec<String> {
    let Ok(inside) = path.strip_prefix(src) else {
        return Vec::new();
    };
    let parts: Vec<String> = inside
        .with_extension("")
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["lib" | "main"] | ["bin", ..] => Vec::new(),
        [above @ .., "mod"] => above.iter().map(|p| (*p).to_owned()).collect(),
        _ => parts,
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("testkit lies in the workspace")
        .to_owned()
}
