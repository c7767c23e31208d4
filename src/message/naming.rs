//! Names and types of files that other people made: a name fit for a file system, a type by content.

use std::ffi::OsStr;
use std::path::Path;

use super::prefix::prefix;

/// Longest file name, in bytes, as most file systems have it.
const MAX_NAME: usize = 255;
/// Containers whose content says less than a name that ends in something more special.
const CONTAINERS: [&str; 4] = [
    "application/zip",
    "application/xml",
    "text/xml",
    "text/html",
];

/// The media type of a file by how it begins (8 KiB are enough), and by its name where the beginning says
/// nothing or only what it is packed in; `None` when neither says anything.
pub fn media_type(name: Option<&str>, head: &[u8]) -> Option<&'static str> {
    let by_content = infer::get(head).map(|found| found.mime_type());
    let by_name = name.and_then(|name| mime_guess::from_path(name).first_raw());
    match (by_content, by_name) {
        (Some(content), Some(name)) if CONTAINERS.contains(&content) => Some(name),
        (Some(content), _) => Some(content),
        (None, by_name) => by_name,
    }
}

/// The last part of a path without what a file system or a terminal could take amiss; `None` when
/// nothing is left.
pub fn file_name(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !is_hostile(*c)).collect();
    let clean = clean.trim_matches(|c: char| c.is_whitespace() || c == '.');
    (!clean.is_empty()).then(|| short(clean))
}

/// Control characters, what turns the direction of writing, and what some file systems refuse.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// As much of a name as a file system takes, with its ending.
fn short(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let path = Path::new(name);
    let ending = path.extension().and_then(OsStr::to_str);
    let ending = ending.filter(|ending| ending.len() <= 16);
    let ending = ending
        .map(|ending| format!(".{ending}"))
        .unwrap_or_default();
    let room = MAX_NAME - ending.len();
    format!("{}{ending}", prefix(name, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_and_steers_nothing() {
        for (announced, expected) in [
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\报告.docx", Some("报告.docx")),
            ("a\u{1b}[31m\r\n.txt", Some("a[31m.txt")),
            ("exe.\u{202e}fdp", Some("exe.fdp")),
            ("...", None),
            ("a/", None),
            (" .bashrc ", Some("bashrc")),
        ] {
            assert_eq!(file_name(announced).as_deref(), expected, "{announced}");
        }
        let long = format!("{}.pdf", "钉".repeat(200));
        let name = file_name(&long).unwrap();
        assert!(name.len() <= MAX_NAME && name.ends_with("钉.pdf"), "{name}");
    }

    #[test]
    fn content_counts_more_than_the_name() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(media_type(Some("a.pdf"), png), Some("image/png"));
        assert_eq!(media_type(Some("a.csv"), b"a,b"), Some("text/csv"));
        assert_eq!(media_type(None, b"a,b"), None);
    }
}
