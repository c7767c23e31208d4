//! JSON as readable YAML: block style, strings in double quotes. It knows no document.

use serde_json::Value;

/// Writes `value`; the JSON form of a string is a YAML string, so nothing has to be guessed.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                indent(depth, out);
                out.push_str(&scalar(&Value::String(key.clone())));
                out.push(':');
                nested(value, depth, out);
            }
        }
        Value::Array(items) => {
            for value in items {
                indent(depth, out);
                out.push('-');
                nested(value, depth, out);
            }
        }
        _ => {
            indent(depth, out);
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let empty = match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        out.push(' ');
        out.push_str(&scalar(value));
        out.push('\n');
    } else {
        out.push('\n');
        block(value, depth + 1, out);
    }
}

/// The value on one line. A word that YAML could not take for anything else stands bare.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_bare(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_bare(text: &str) -> bool {
    const RESERVED: [&str; 7] = ["true", "false", "null", "yes", "no", "on", "off"];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() > 1
        && text.bytes().all(plain)
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str())
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_stand_bare_and_everything_else_is_quoted() {
        let value = json!({"a-b": {"list": ["x1", "no", "1.0", {"k": true}]}, "empty": {}, "$ref": "#/a: b\n"});
        let expected = "\"$ref\": \"#/a: b\\n\"\na-b:\n  list:\n    - x1\n    - \"no\"\n    - \"1.0\"\n    -\n      \"k\": true\nempty: {}\n";
        assert_eq!(write(&value), expected);
    }
}
