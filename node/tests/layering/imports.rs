//! Who imports whom inside a package, read from the sources as text: every `use` and every inline path that begins
//! with `crate`, `self`, `super` or a child module. Test modules are left out; modules inside a file count as the file.
//! A name that a module only passes on (`pub use child::Name`) counts as the child's, so that a parent may show what
//! its children define.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path below its crate, such as `["state", "tree"]`; empty for `lib.rs`.
type ModulePath = Vec<String>;

/// The modules of one package.
pub struct Package {
    modules: BTreeMap<ModulePath, Module>,
}

struct Module {
    /// Absolute paths that the module names.
    paths: BTreeSet<ModulePath>,
    /// What the module brings into its scope: the name there, and the absolute path that it stands for.
    names: BTreeMap<String, ModulePath>,
}

impl Package {
    /// Reads the files of a package: (path below `src`, text).
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let texts: BTreeMap<ModulePath, String> =
            files.into_iter().map(|(file, text)| (module_of(file), without_tests(text))).collect();
        let known: BTreeSet<ModulePath> = texts.keys().cloned().collect();
        let modules = texts.iter().map(|(path, text)| (path.clone(), Module::read(path, text, &known))).collect();
        Self { modules }
    }

    /// Modules that import each other, directly or over others: the sets of more than one, each as its paths.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let arrows: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.modules.keys().map(|from| (from, self.imported_by(from))).collect();
        let reach: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.modules.keys().map(|from| (from, reachable(from, &arrows))).collect();
        let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
        for (from, reached) in &reach {
            let mutual: Vec<String> =
                reached.iter().filter(|to| reach[*to].contains(from)).map(|to| show(to)).collect();
            if mutual.len() > 1 {
                circles.insert(mutual);
            }
        }
        circles.into_iter().collect()
    }

    /// Who imports whom: pairs of paths.
    pub fn arrows(&self) -> impl Iterator<Item = (String, String)> {
        self.modules.keys().flat_map(|from| self.imported_by(from).into_iter().map(|to| (show(from), show(to))))
    }

    fn imported_by(&self, from: &ModulePath) -> BTreeSet<&ModulePath> {
        let paths = self.modules[from].paths.iter();
        paths.filter_map(|path| self.home_of(path, 0)).filter(|home| *home != from).collect()
    }

    /// The module that defines what `path` names.
    fn home_of(&self, path: &[String], depth: usize) -> Option<&ModulePath> {
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (home, module) = self.modules.get_key_value(&path[..length])?;
        let passed_on = path.get(length).and_then(|name| module.names.get(name));
        match passed_on {
            Some(source) if depth < 8 && source != path => {
                let whole = [&source[..], &path[length + 1..]].concat();
                self.home_of(&whole, depth + 1)
            }
            _ => Some(home),
        }
    }
}

fn reachable<'a>(
    from: &'a ModulePath,
    arrows: &BTreeMap<&'a ModulePath, BTreeSet<&'a ModulePath>>,
) -> BTreeSet<&'a ModulePath> {
    let (mut reached, mut waiting) = (BTreeSet::from([from]), vec![from]);
    while let Some(next) = waiting.pop() {
        waiting.extend(arrows[next].iter().copied().filter(|to| reached.insert(to)));
    }
    reached
}

fn show(path: &ModulePath) -> String {
    if path.is_empty() { "lib".to_owned() } else { path.join("::") }
}

fn module_of(file: &str) -> ModulePath {
    let stem = file.trim_end_matches(".rs");
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

impl Module {
    fn read(own: &ModulePath, text: &str, known: &BTreeSet<ModulePath>) -> Self {
        let mut module = Self { paths: BTreeSet::new(), names: BTreeMap::new() };
        let absolute = |path: &[String]| to_absolute(own, path, known);
        let mut rest = String::new();
        for statement in text.split_inclusive(';') {
            let Some(start) = use_statement(statement) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(&statement[..start]);
            let tree = statement[start + 4..].trim_end_matches(';');
            for (path, name) in leaves_of(tree.trim(), &[]) {
                let Some(path) = absolute(&path) else { continue };
                module.names.insert(name, path.clone());
                module.paths.insert(path);
            }
        }
        module.paths.extend(inline_paths(&rest).iter().filter_map(|path| absolute(path)));
        module
    }
}

/// Where a `use` begins in a piece of code that ends with its semicolon.
fn use_statement(statement: &str) -> Option<usize> {
    let start = statement.rfind("use ")?;
    let before = statement[..start].trim_end();
    let is_statement = before.is_empty()
        || before.ends_with(['}', '{', ']', ';'])
        || before.ends_with("pub")
        || before.ends_with("pub(crate)")
        || before.ends_with("pub(super)");
    is_statement.then_some(start)
}

/// Every path of a `use` tree, with the name that it gets.
fn leaves_of(tree: &str, prefix: &[String]) -> Vec<(ModulePath, String)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let head = segments(tree[..open].trim_end_matches("::"));
        let prefix = [prefix, &head].concat();
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        return split_top(inner).into_iter().flat_map(|part| leaves_of(part, &prefix)).collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [prefix, &segments(path)].concat();
    if path.last().is_some_and(|last| last == "self" || last == "*") && path.len() > 1 {
        path.pop();
    }
    let name = alias.map(str::to_owned).or_else(|| path.last().cloned());
    name.into_iter().map(|name| (path.clone(), name)).collect()
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Splits at the commas that stand in no inner braces.
fn split_top(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// Paths of more than one part in expressions and types. Of those, `to_absolute` knows the ones that lead to a module.
fn inline_paths(code: &str) -> Vec<ModulePath> {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    code.split(|letter| !is_path(letter))
        .map(|path| path.trim_matches(':'))
        .filter(|path| path.contains("::"))
        .map(segments)
        .collect()
}

/// The path from the crate's root; `None` for paths into other crates.
fn to_absolute(own: &ModulePath, path: &[String], known: &BTreeSet<ModulePath>) -> Option<ModulePath> {
    let mut base = own.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (base, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        child => {
            let child = [&base[..], &[child.to_owned()]].concat();
            known.contains(&child).then_some(())?;
        }
    }
    Some([&base[..], rest].concat())
}

/// The code of a file: no comments, no items behind `#[cfg(test)]`.
fn without_tests(text: &str) -> String {
    let code: Vec<String> = text.lines().map(bare).collect();
    let code = code.join("\n");
    let (mut kept, mut rest) = (String::new(), code.as_str());
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = behind_item(&rest[at + "#[cfg(test)]".len()..]);
    }
    kept + rest
}

/// A line without its comment and without what stands between quotation marks.
fn bare(line: &str) -> String {
    let (mut kept, mut quoted, mut letters) = (String::new(), false, line.char_indices().peekable());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quoted => drop(letters.next()),
            '"' if !line[..at].ends_with('\'') => quoted = !quoted,
            '/' if !quoted && letters.peek().is_some_and(|(_, next)| *next == '/') => break,
            _ if !quoted => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// What follows the item at the start of `text`: behind its semicolon or its closing brace.
fn behind_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            ';' if depth == 0 => return &text[at + 1..],
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return &text[at + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

#[test]
fn circles_are_found_and_passing_on_is_none() {
    let circles = |files: &[(&str, &str)]| Package::read(files.iter().copied()).circles();
    let apart = [("lib.rs", "pub mod a; pub mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")];
    assert!(circles(&apart).is_empty());
    let circle = [("a.rs", "use crate::b::{B, C};"), ("b.rs", "pub fn b() { crate::a::help() }")];
    assert_eq!(circles(&circle), [["a", "b"]]);
    let over_three =
        [("a.rs", "use super::b::B;"), ("b.rs", "use crate::{c, d::D};"), ("c.rs", "use crate::a;"), ("d.rs", "")];
    assert_eq!(circles(&over_three), [["a", "b", "c"]]);
    let shown = [("a.rs", "mod one; mod two; pub use one::One;"), ("a/one.rs", ""), ("a/two.rs", "use super::One;")];
    assert!(circles(&shown).is_empty());
    let parent = [("a.rs", "mod one; pub use one::One; pub struct A;"), ("a/one.rs", "use super::A;")];
    assert_eq!(circles(&parent), [["a", "a::one"]]);
    let child = [("a.rs", "mod one; pub struct A; fn f() { one::g() }"), ("a/one.rs", "use super::A;")];
    assert_eq!(circles(&child), [["a", "a::one"]]);
    let texts = [("a.rs", "use crate::b; // use crate::a::x;"), ("b.rs", "f(\"{path} use crate::a {\"); // crate::a")];
    assert!(circles(&texts).is_empty());
    let tests = [
        ("a.rs", "use crate::b::B;\n#[cfg(test)]\nmod tests { use crate::b; fn t() {} }"),
        ("b.rs", "#[cfg(test)]\nuse crate::a;"),
    ];
    assert!(circles(&tests).is_empty());
}
