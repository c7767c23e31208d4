//! The example, the demo and the schema against the types.

use super::*;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_example_loads_as_it_is_and_shows_the_defaults() {
    let example = load_from(
        &source(repository("config/example.toml")),
        &environment(&[]),
    )
    .unwrap();
    let plain = good(
        "[accounts.sales]\nclient_id = 'dingxxxxxxxxxxxxxxxx'\nclient_secret = 'replace-me'\n",
        &[],
    );
    assert_eq!(example, plain);
}

#[test]
fn the_example_names_every_key() {
    let text = fs::read_to_string(repository("config/example.toml")).unwrap();
    let aliases = ACCOUNT_ALIASES.map(|(alias, _)| alias);
    for path in Keys::new().leaves() {
        let key = path.last().unwrap().as_str();
        let written = text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.split_once(" = ").is_some_and(|(name, _)| name == key)
        });
        assert!(written || aliases.contains(&key), "{path:?}");
    }
}

#[test]
fn the_demo_configuration_loads() {
    let config = load_from(&source(repository("config/demo.toml")), &environment(&[])).unwrap();
    assert!(config.accounts.contains_key("demo"));
    assert!(config.dingtalk.api_url.starts_with("http://127.0.0.1"));
}

#[test]
fn there_are_at_most_56_keys() {
    let aliases = ACCOUNT_ALIASES.map(|(alias, _)| alias);
    let leaves = Keys::new().leaves();
    // A secret and the file that holds it are one key in two forms.
    let form_of_another = |path: &Vec<String>| {
        let (key, table) = path.split_last().unwrap();
        key.strip_suffix("_file").is_some_and(|value| {
            let mut other = table.to_vec();
            other.push(value.to_owned());
            leaves.contains(&other)
        })
    };
    let count = leaves
        .iter()
        .filter(|path| !aliases.contains(&path.last().unwrap().as_str()) && !form_of_another(path))
        .count();
    assert!(count <= 56, "{count}");
}

#[test]
fn every_key_says_what_it_means() {
    fn look(schema: &serde_json::Value, path: &str) {
        for (name, key) in schema["properties"].as_object().into_iter().flatten() {
            let described = key["description"]
                .as_str()
                .is_some_and(|text| text.len() > 10);
            assert!(described, "{path}.{name}");
            look(key, &format!("{path}.{name}"));
            look(&key["additionalProperties"], &format!("{path}.{name}.*"));
        }
    }
    look(&schema(), "");
}

/// Run with `UPDATE_SCHEMAS=1` to write the file anew, or use `nats-dingtalk schema --write`.
#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let path = repository("schemas/config.schema.json");
    let mut text = serde_json::to_string_pretty(&schema()).unwrap();
    text.push('\n');
    if Environment::capture().value("UPDATE_SCHEMAS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    assert!(
        stored == text,
        "schemas/config.schema.json is stale: run UPDATE_SCHEMAS=1 cargo test --lib config"
    );
}

#[test]
fn the_schema_accepts_the_example_and_the_demo_and_refuses_an_unknown_key() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let read = |text: &str| -> serde_json::Value { <Toml as Format>::from_str(text).unwrap() };
    for file in ["config/example.toml", "config/demo.toml"] {
        let value = read(&fs::read_to_string(repository(file)).unwrap());
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
    assert!(validator.is_valid(&read("[accounts.a]\napp_key = 'k'\napp_secret = 's'\n")));
    assert!(!validator.is_valid(&read("[natz]\n")));
    assert!(!validator.is_valid(&read("[accounts.a]\nconnections = 51\n")));
    assert!(!validator.is_valid(&read("[accounts.'a.b']\n")));
}
