//! The shape of the sources: who may import whom, sizes, names and what stands where.
//!
//! The rules are those of the design and the house style; there is no list of exceptions. It reads the
//! text of `src/`, so it says where to look: file, line, rule.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Top-level module and what it may import from its siblings.
const IMPORTS: &[(&str, &[&str])] = &[
    ("failpoint", &[]),
    ("message", &[]),
    ("config", &["message"]),
    ("telemetry", &["message", "config"]),
    ("broker", LEAVES),
    ("dingtalk", LEAVES),
    ("spool", LEAVES),
    (
        "inbound",
        &[
            "message",
            "config",
            "telemetry",
            "broker",
            "dingtalk",
            "spool",
        ],
    ),
    (
        "outbound",
        &["message", "config", "telemetry", "broker", "dingtalk"],
    ),
    (
        "fleet",
        &["message", "config", "telemetry", "broker", "dingtalk"],
    ),
    (
        "verbs",
        &["message", "config", "telemetry", "broker", "dingtalk"],
    ),
    ("ops", &["message", "config", "telemetry", "spool"]),
    ("sim", &["message"]),
    (
        "bridge",
        &[
            "message",
            "config",
            "telemetry",
            "broker",
            "dingtalk",
            "spool",
            "inbound",
            "outbound",
            "fleet",
            "verbs",
            "ops",
        ],
    ),
    ("cli", ALL),
    ("main", ALL),
    ("lib", ALL),
];
const LEAVES: &[&str] = &["message", "config", "telemetry"];
const ALL: &[&str] = &[
    "message",
    "config",
    "telemetry",
    "broker",
    "dingtalk",
    "spool",
    "inbound",
    "outbound",
    "fleet",
    "verbs",
    "ops",
    "bridge",
    "sim",
    "cli",
];

/// Names that say nothing of what is inside.
const NO_MODULES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "misc", "types", "models", "traits", "core",
    "prelude",
];
/// Endings that say nothing of what a type is.
const NO_ENDINGS: &[&str] = &[
    "Manager",
    "Handler",
    "Helper",
    "Processor",
    "Service",
    "Wrapper",
    "Impl",
    "Info",
    "Data",
];

const MAIN_LINES: usize = 60;
const FILE_LINES: usize = 400;
const CONFIG_KEYS: usize = 56;

/// One source file with its text as written and as code: comments and literals blanked, line for line,
/// and unit tests cut off.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: without_tests(&blanked(text)),
        }
    }

    /// The module below `src/` that the file belongs to.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder") {
            let path = entry.expect("a source file").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source text");
        let name = path.strip_prefix(root).expect("a path below the root");
        Source::new(&name.to_string_lossy().replace('\\', "/"), &text)
    };
    files.iter().map(read).collect()
}

/// Fails with everything that `rule` finds in the sources.
fn hold(rule: fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() > 20, "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn modules_import_only_what_the_design_lets_them() {
    hold(imports);
}

#[test]
fn files_are_small_and_main_is_smaller() {
    hold(sizes);
}

#[test]
fn names_of_modules_and_types_say_what_they_are() {
    hold(names);
}

#[test]
fn every_file_says_what_it_owns() {
    hold(openings);
}

#[test]
fn nothing_is_left_to_do() {
    hold(leftovers);
}

#[test]
fn errors_without_a_type_stay_where_people_read_them() {
    hold(untyped_errors);
}

#[test]
fn tasks_are_spawned_in_one_place() {
    hold(spawns);
}

#[test]
fn the_configuration_stays_within_its_budget_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.schema.json");
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let schema: Value = serde_json::from_str(&text).expect("schemas/config.schema.json is JSON");
    let keys = keys(&schema, &schema, 0);
    assert!(keys > 10, "no keys were found in the schema: {keys}");
    assert!(
        keys <= CONFIG_KEYS,
        "{keys} keys, the budget is {CONFIG_KEYS}; a secret and its `_file` form count as one, aliases as none"
    );
}

fn imports(source: &Source) -> Vec<String> {
    let module = source.module();
    if source.is_test() {
        return Vec::new();
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{}:1: module `{module}` is not in the import table",
            source.path
        )];
    };
    imported(&source.code)
        .into_iter()
        .filter(|(_, name)| name != module && !allowed.contains(&name.as_str()))
        .filter(|(_, name)| IMPORTS.iter().any(|(known, _)| known == name))
        .map(|(line, name)| {
            format!(
                "{}:{line}: `{module}` must not import `{name}`",
                source.path
            )
        })
        .collect()
}

/// Every `crate::name` in code, groups opened, with its line.
fn imported(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_names(group).map(|name| (line, name))),
            None => found.push((line, leading_name(rest))),
        }
    }
    found
}

/// The first name of each path in a group whose opening brace was taken off.
fn group_names(group: &str) -> impl Iterator<Item = String> {
    let mut depth = 1;
    let mut outer = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 1 => outer.push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let paths: Vec<String> = outer
        .split(',')
        .map(|path| leading_name(path.trim()))
        .collect();
    paths.into_iter().filter(|name| !name.is_empty())
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn sizes(source: &Source) -> Vec<String> {
    let lines = source.code.lines().count();
    let limit = if source.path == "src/main.rs" {
        MAIN_LINES
    } else {
        FILE_LINES
    };
    if source.is_test() || lines <= limit {
        return Vec::new();
    }
    vec![format!(
        "{}:{limit}: {lines} lines without tests, the limit is {limit}",
        source.path
    )]
}

fn names(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let parts = source.path.trim_end_matches(".rs").split('/');
    for part in parts.filter(|part| NO_MODULES.contains(part)) {
        found.push(format!("{}:1: no module is called `{part}`", source.path));
    }
    for (line, code) in source.code_lines() {
        let words: Vec<&str> = code
            .split(|c| !is_word(c))
            .filter(|w| !w.is_empty())
            .collect();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            // An associated type is named by its trait.
            let declares = matches!(*keyword, "struct" | "enum" | "trait" | "union")
                || *keyword == "type" && !code.starts_with(' ');
            let ending = NO_ENDINGS.iter().find(|ending| name.ends_with(*ending));
            if let Some(ending) = ending.filter(|_| declares) {
                let path = &source.path;
                found.push(format!("{path}:{line}: type `{name}` ends in `{ending}`"));
            }
            if *keyword == "mod" && NO_MODULES.contains(name) {
                found.push(format!(
                    "{}:{line}: no module is called `{name}`",
                    source.path
                ));
            }
        }
    }
    found
}

fn openings(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!(
        "{}:1: the file does not open with `//!` and what it owns",
        source.path
    )]
}

fn leftovers(source: &Source) -> Vec<String> {
    let marks = ["TODO", "FIXME"];
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| {
            line.split(|c| !is_word(c))
                .any(|word| marks.contains(&word))
        })
        .map(|(at, _)| format!("{}:{}: something is left to do", source.path, at + 1))
        .collect()
}

fn untyped_errors(source: &Source) -> Vec<String> {
    if source.is_test() || matches!(source.module(), "main" | "cli") {
        return Vec::new();
    }
    let is_use = |code: &str| code.split(|c| !is_word(c)).any(|word| word == "anyhow");
    source
        .code_lines()
        .filter(|(_, code)| is_use(code))
        .map(|(line, _)| {
            format!(
                "{}:{line}: `anyhow` belongs to main.rs, cli/ and tests",
                source.path
            )
        })
        .collect()
}

fn spawns(source: &Source) -> Vec<String> {
    if source.is_test() || matches!(source.module(), "bridge" | "sim") {
        return Vec::new();
    }
    let spawns = |code: &str| {
        ["tokio::spawn", "task::spawn", "task::spawn_local"]
            .iter()
            .any(|call| {
                code.match_indices(call)
                    .any(|(at, _)| !code[at + call.len()..].starts_with(is_word))
            })
    };
    source
        .code_lines()
        .filter(|(_, code)| spawns(code))
        .map(|(line, _)| format!("{}:{line}: only bridge and sim spawn tasks", source.path))
        .collect()
}

/// Keys that a person can set: the leaves of the schema, sections and maps opened. A secret and the
/// file that holds it are one key in two forms, and an alias is its key by another name.
fn keys(schema: &Value, root: &Value, depth: usize) -> usize {
    if depth > 16 {
        return 0;
    }
    if let Some(path) = schema["$ref"].as_str() {
        let target = root.pointer(path.trim_start_matches('#'));
        return target.map_or(1, |target| keys(target, root, depth + 1));
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let counts = choices.iter().map(|one| keys(one, root, depth + 1));
            return counts.max().unwrap_or(1);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let form_of_another = |name: &str| {
            let value = name.strip_suffix("_file");
            value.is_some_and(|value| properties.contains_key(value))
        };
        let is_alias = |property: &Value| {
            let description = property["description"].as_str();
            description.is_some_and(|text| text.starts_with("Alias of `"))
        };
        let own = properties
            .iter()
            .filter(|(name, property)| !form_of_another(name) && !is_alias(property));
        let counts = own.map(|(_, one)| keys(one, root, depth + 1));
        return counts.sum();
    }
    match &schema["additionalProperties"] {
        inner @ Value::Object(_) => keys(inner, root, depth + 1),
        _ => 1,
    }
}

/// The text with comments and the insides of literals as spaces, line for line.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = literal(&chars[at..], at.checked_sub(1).map(|before| chars[before]));
        if length == 0 {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let skipped = &chars[at..(at + length).min(chars.len())];
        code.extend(skipped.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    code
}

/// Length of the comment or literal at the start of `chars`, 0 when there is none.
fn literal(chars: &[char], before: Option<char>) -> usize {
    let next = chars.get(1).copied();
    match chars[0] {
        '/' if next == Some('/') => chars.iter().take_while(|c| **c != '\n').count(),
        '/' if next == Some('*') => block_comment(chars),
        '"' => quoted(chars, '"'),
        'r' if !before.is_some_and(is_word) || before == Some('b') => raw_string(chars),
        // A lifetime has no closing quote after one character or escape.
        '\'' if next == Some('\\') || chars.get(2) == Some(&'\'') => quoted(chars, '\''),
        _ => 0,
    }
}

fn block_comment(chars: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
            }
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(chars: &[char]) -> usize {
    let hashes = chars[1..].iter().take_while(|c| **c == '#').count();
    if chars.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let mut at = 2 + hashes;
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes;
        at += 1;
        if closes {
            return at + hashes;
        }
    }
    at
}

/// Code without its inline test module, which comes last in a file.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let starts = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| {
                let next = next.trim_start();
                next.starts_with("mod ") && next.trim_end().ends_with('{')
            });
        if starts {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

#[test]
fn each_rule_fires_on_what_it_forbids() {
    let fires = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str, at: &str| {
        let found = rule(&Source::new(path, text));
        assert!(
            found
                .iter()
                .any(|one| one.starts_with(&format!("{path}:{at}: "))),
            "{path}: {text:?} gave {found:?}"
        );
    };
    fires(imports, "src/dingtalk/a.rs", "\nuse crate::broker::X;", "2");
    fires(
        imports,
        "src/broker/a.rs",
        "use crate::{message::{A, B},\n dingtalk};",
        "1",
    );
    fires(
        imports,
        "src/inbound/a.rs",
        "fn f() { crate::outbound::g() }",
        "1",
    );
    fires(imports, "src/novel/mod.rs", "", "1");
    fires(sizes, "src/main.rs", &"x();\n".repeat(61), "60");
    fires(sizes, "src/a/b.rs", &"x();\n".repeat(401), "400");
    fires(names, "src/utils/mod.rs", "", "1");
    fires(names, "src/a.rs", "\npub struct UserData {", "2");
    fires(names, "src/a.rs", "pub(crate) type TokenManager = ();", "1");
    fires(names, "src/a.rs", "mod helpers {}", "1");
    fires(openings, "src/a.rs", "use x;", "1");
    fires(leftovers, "src/a.rs", "//! x\n// TODO: y", "2");
    fires(
        untyped_errors,
        "src/broker/a.rs",
        "use anyhow::Result;",
        "1",
    );
    fires(spawns, "src/inbound/a.rs", "tokio::spawn(f());", "1");
    fires(spawns, "src/cli/a.rs", "task::spawn(f());", "1");
}

#[test]
fn no_rule_fires_on_what_is_allowed() {
    let text = r####"//! Speaks of crate::broker and tokio::spawn.
use crate::message::{Kind, Chat};
/* tokio::spawn( /* anyhow */ */
fn f<'a>(x: &'a str) -> char {
    let _ = ("crate::broker \" anyhow", r#"tokio::spawn(" crate::spool"#, 'a', '"', '\'', b"anyhow");
    tokio::task::spawn_blocking(g);
    'x'
}
impl Visitor for X {
    type Service = DataOf;
}
#[cfg(test)]
mod tests {
    use crate::broker::Y;
    use anyhow::Result;
}
"####;
    let source = Source::new("src/dingtalk/a.rs", text);
    for rule in [
        imports,
        sizes,
        names,
        openings,
        leftovers,
        untyped_errors,
        spawns,
    ] {
        assert_eq!(rule(&source), Vec::<String>::new());
    }
    let tests = Source::new("src/dingtalk/tests.rs", "//! x\nuse crate::broker::Y;");
    assert_eq!(imports(&tests), Vec::<String>::new());
}

#[test]
fn keys_of_sections_and_accounts_are_counted_once_in_all_their_forms() {
    let schema = serde_json::json!({
        "properties": {
            "nats": {"$ref": "#/$defs/Nats"},
            "accounts": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Account"}},
            "spool": {"anyOf": [{"$ref": "#/$defs/Spool"}, {"type": "null"}]}
        },
        "$defs": {
            "Nats": {"properties": {"url": {"type": "string"}, "token": {"type": "string"}}},
            "Account": {"properties": {
                "client_id": {"type": "string"},
                "client_secret": {"type": "string"},
                "client_secret_file": {"type": "string"},
                "ca_file": {"type": "string"},
                "app_key": {"type": "string", "description": "Alias of `client_id`."}
            }},
            "Spool": {"properties": {"dir": {"type": "string"}}}
        }
    });
    assert_eq!(keys(&schema, &schema, 0), 6);
}
