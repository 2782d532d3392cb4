//! The architecture's invariants of absence, read off the sources: what must not appear where (docs/architecture.md).

mod imports;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node lies in the workspace").to_owned()
}

/// Every Rust file below the packages' `src`, as (path from the workspace, text).
fn sources() -> Vec<(String, String)> {
    let root = workspace();
    let mut waiting: Vec<PathBuf> = ["ledger", "resolver", "node"].iter().map(|p| root.join(p).join("src")).collect();
    let mut found = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a source directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("below the workspace").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    assert!(found.len() > 50, "only {} source files found", found.len());
    found
}

/// Lines that are code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Asserts that paths of `crate_name` are used below `homes` only, and there indeed.
fn check_home(crate_name: &str, homes: &[&str]) {
    let paths = [format!("{crate_name}::"), format!("{crate_name}_server::"), format!("{crate_name}_proto::")];
    let uses: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| code(text).any(|line| paths.iter().any(|path| line.contains(path))))
        .map(|(name, _)| name)
        .collect();
    let strays: Vec<&String> = uses.iter().filter(|name| !homes.iter().any(|home| name.starts_with(home))).collect();
    assert!(strays.is_empty(), "{crate_name} belongs in {homes:?}, but {strays:?} use it");
    assert!(!uses.is_empty(), "nobody uses {crate_name}: does this test still look for the right thing?");
}

#[test]
fn bincode_stays_in_one_file() {
    check_home("bincode", &["ledger/src/codec.rs"]);
}

#[test]
fn libp2p_stays_in_the_network_shell() {
    check_home("libp2p", &["node/src/p2p"]);
}

#[test]
fn rocksdb_stays_in_the_store() {
    check_home("rocksdb", &["node/src/store"]);
}

#[test]
fn hickory_stays_in_the_resolver() {
    check_home("hickory", &["resolver/src"]);
}

#[test]
fn prometheus_stays_in_the_metrics() {
    check_home("prometheus", &["node/src/metrics", "resolver/src/metrics"]);
}

/// The modules of a package, but for its programs and tests.
fn modules_of(package: &str) -> imports::Package {
    let (files, src) = (sources(), format!("{package}/src/"));
    let files = files.iter().filter_map(|(name, text)| Some((name.strip_prefix(&src)?, text.as_str())));
    let is_test = |name: &str| name.ends_with("tests.rs") || name.contains("tests/");
    imports::Package::read(files.filter(|(name, _)| !name.starts_with("bin/") && !is_test(name)))
}

/// Modules of a package that import each other.
fn circles_of(package: &str) -> Vec<Vec<String>> {
    modules_of(package).circles()
}

/// Words that are needed everywhere live on the lower floors, and what acts on them above (docs/architecture.md).
#[test]
fn no_module_of_the_ledger_imports_in_a_circle() {
    let circles = circles_of("ledger");
    assert!(circles.is_empty(), "modules of ledger that import each other: {circles:#?}");
}

#[test]
fn no_module_of_the_node_imports_in_a_circle() {
    let circles = circles_of("node");
    assert!(circles.is_empty(), "modules of node that import each other: {circles:#?}");
}

#[test]
fn no_module_of_the_resolver_imports_in_a_circle() {
    let circles = circles_of("resolver");
    assert!(circles.is_empty(), "modules of resolver that import each other: {circles:#?}");
}

/// The rooms of the resolver, each of which imports only those before it.
#[test]
fn rooms_of_the_resolver_import_downward() {
    const ROOMS: [&str; 7] = ["dns", "names", "zones", "policy", "metrics", "out", "serve"];
    let floor = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        ROOMS.iter().position(|known| *known == room)
    };
    let (mut upward, mut seen) = (Vec::new(), [false; ROOMS.len()]);
    for (from, to) in modules_of("resolver").arrows() {
        let (Some(from_floor), Some(to_floor)) = (floor(&from), floor(&to)) else { continue };
        (seen[from_floor], seen[to_floor]) = (true, true);
        if to_floor > from_floor {
            upward.push(format!("{from} -> {to}"));
        }
    }
    assert!(upward.is_empty(), "imports of a later room: {upward:#?}");
    assert_eq!(seen, [true; ROOMS.len()], "every room is there");
}

#[test]
fn ledger_has_no_clock_randomness_threads_or_io() {
    for (name, text) in sources().into_iter().filter(|(name, _)| name.starts_with("ledger/src")) {
        if name.starts_with("ledger/src/testing") {
            continue;
        }
        for word in ["std::fs", "std::net", "std::thread", "std::time", "std::env", "std::io", "rand::", "tracing::"] {
            assert!(!code(&text).any(|line| line.contains(word)), "{name} uses {word}");
        }
    }
}

#[test]
fn ledger_has_one_file_with_unsafe() {
    let home = "ledger/src/pow/argon2d/avx2.rs";
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| name.starts_with("ledger/src") && code(text).any(|line| line.contains("unsafe")))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(users, [home]);
}

#[test]
fn resolver_knows_no_node() {
    let manifest = fs::read_to_string(workspace().join("resolver/Cargo.toml")).expect("its manifest");
    for word in ["node =", "rocksdb", "libp2p"] {
        assert!(!manifest.contains(word), "resolver depends on {word}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} does not open with `//!`");
    }
}
