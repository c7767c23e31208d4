//! The file name of what is fetched: what the headers say, else the end of the path. It is a name to
//! show, never a path to write to.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{CONTENT_DISPOSITION, HeaderMap};

/// Longest name, in characters.
const MAX_NAME: usize = 200;

/// The file name, without folders.
pub(super) fn of(headers: &HeaderMap, url: &Url) -> Option<String> {
    let disposition = headers.get(CONTENT_DISPOSITION);
    let disposition = disposition.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let told = disposition.and_then(|value| told(&value));
    told.or_else(|| {
        let last = url.path_segments()?.next_back()?;
        plain(&percent_decode_str(last).decode_utf8_lossy())
    })
}

/// The name in a `Content-Disposition`; the form with a character set wins.
fn told(disposition: &str) -> Option<String> {
    let parameters = || {
        let parts = disposition.split(';').skip(1);
        parts.filter_map(|part| part.split_once('='))
    };
    let value = |wanted: &str| {
        let same = |(name, _): &(&str, &str)| name.trim().eq_ignore_ascii_case(wanted);
        let (_, value) = parameters().find(same)?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    let extended = value("filename*").and_then(|value| {
        let (_, encoded) = value.split_once("''")?;
        plain(&percent_decode_str(encoded).decode_utf8_lossy())
    });
    extended.or_else(|| {
        let value = value("filename")?;
        plain(&percent_decode_str(&value).decode_utf8_lossy())
    })
}

/// The name without folders and control characters; `None` when nothing is left.
fn plain(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept = last.chars().filter(|c| !c.is_control());
    let name: String = kept.take(MAX_NAME).collect();
    let name = name.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn name(disposition: &[u8], url: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if !disposition.is_empty() {
            let value = HeaderValue::from_bytes(disposition).unwrap();
            headers.insert(CONTENT_DISPOSITION, value);
        }
        of(&headers, &Url::parse(url).unwrap())
    }

    #[test]
    fn the_headers_name_the_file_else_the_path_does() {
        let url = "https://x.example/a/b%20c.pdf?Signature=CANARY";
        let table: [(&[u8], &str); 7] = [
            (b"", "b c.pdf"),
            (b"inline", "b c.pdf"),
            (b"attachment; filename=\"r.xlsx\"", "r.xlsx"),
            (b"attachment; filename=r.xlsx", "r.xlsx"),
            ("attachment; filename=\"报表.xlsx\"".as_bytes(), "报表.xlsx"),
            (
                b"attachment; filename=\"r.xlsx\"; filename*=UTF-8''%E6%8A%A5.xlsx",
                "报.xlsx",
            ),
            (b"attachment; filename=\"../../etc/passwd\"", "passwd"),
        ];
        for (disposition, wanted) in table {
            assert_eq!(name(disposition, url).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn a_path_without_an_end_names_nothing() {
        assert_eq!(name(b"", "https://x.example/"), None);
        assert_eq!(name(b"", "https://x.example/a/"), None);
        assert_eq!(name(b"", "https://x.example/%2e%2e%2f"), None);
    }
}
