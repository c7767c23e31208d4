//! What a cut must never do, whatever the text.

use proptest::prelude::*;

use super::*;

fn limit(units: usize, bytes: usize) -> Size {
    Size { units, bytes }
}

fn is_balanced(part: &str) -> bool {
    let mut open: Option<Fence<'_>> = None;
    for line in part.split_inclusive('\n') {
        open = match open {
            None => Fence::opened_by(line),
            Some(fence) => (!fence.closes(line)).then_some(fence),
        };
    }
    open.is_none()
}

/// What is left when fences and white space are taken away.
fn content(text: &str) -> String {
    let marks = |line: &&str| Fence::opened_by(line).is_none();
    let lines = text.lines().filter(marks);
    lines
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

/// Lines that look like what people and models write, fences and links among them.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z 一-十。，]{0,60}",
        1 => "[a-z]{200,700}",
        1 => "(👩‍👩‍👧|é|🇨🇳|a){0,80}",
        1 => Just("```rust".to_owned()),
        1 => Just("```".to_owned()),
        1 => Just("~~~~".to_owned()),
        1 => Just("  ```".to_owned()),
        1 => Just(String::new()),
        1 => Just("# head".to_owned()),
        1 => Just("| a | b |".to_owned()),
        1 => Just("|---|---|".to_owned()),
        1 => "(\"|\\\\|\u{1}|x){0,50}",
        1 => "[`~a ]{0,90}",
        1 => "see \\[[a-z ]{3,30}\\]\\(https://x.example/[a-z]{3,80}\\) and more",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(line(), 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn plain_parts_are_the_text(text in text(), bytes in 40_usize..600) {
        let limit = limit(usize::MAX, bytes);
        let parts = split(&text, Syntax::Plain, limit);
        prop_assert_eq!(parts.concat(), text);
        for part in &parts {
            prop_assert!(Size::of(part).fits(limit), "{}", part);
        }
    }

    #[test]
    fn markdown_parts_keep_every_word_within_limits_and_with_whole_fences(
        text in text(),
        units in 300_usize..900,
        bytes in 300_usize..1500,
    ) {
        let limit = limit(units, bytes);
        let parts = split(&text, Syntax::Markdown, limit);
        let joined: String = parts.iter().map(|part| content(part)).collect();
        prop_assert_eq!(joined, content(&text));
        for part in &parts {
            prop_assert!(Size::of(part).fits(limit), "{:?} {}", Size::of(part), part);
            prop_assert!(is_balanced(part), "{}", part);
        }
    }

    #[test]
    fn sizes_are_those_of_serde_json(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(Size::of(&text).bytes, json.len() - 2);
        prop_assert_eq!(Size::of(&text).units, text.encode_utf16().count());
    }
}

#[test]
fn a_text_that_fits_stays_as_it_is() {
    for text in ["hello", "a\n\nb\n", "```\ncode\n```", "| a |\n"] {
        assert_eq!(split(text, Syntax::Markdown, limit(3800, 15_000)), [text]);
    }
    assert!(split("", Syntax::Plain, limit(10, 10)).is_empty());
}

#[test]
fn paragraphs_are_cut_before_lines_and_lines_before_sentences() {
    let paragraph = |c: &str| format!("{}\n{}\n\n", c.repeat(150), c.repeat(150));
    let text = ["a", "b", "c"].map(paragraph).concat();
    let parts = split(&text, Syntax::Markdown, limit(700, 5000));
    assert_eq!(
        parts,
        [[paragraph("a"), paragraph("b")].concat(), paragraph("c")]
    );

    let text = format!("{}。{}", "一".repeat(250), "二".repeat(200));
    let parts = split(&text, Syntax::Plain, limit(400, 5000));
    assert_eq!(parts[0], format!("{}。", "一".repeat(250)));
}

#[test]
fn a_fence_that_fits_one_part_is_moved_and_a_longer_one_is_reopened_with_its_info() {
    let block = format!("```rust\n{}```\n", "let x = 1;\n".repeat(40));
    let text = format!("{}\n{block}after", "word ".repeat(20));
    let parts = split(&text, Syntax::Markdown, limit(500, 5000));
    assert_eq!(parts[0], format!("{}\n", "word ".repeat(20)));
    assert!(parts[1].starts_with(&block), "{}", parts[1]);

    let block = format!("```rust\n{}```\n", "let x = 1;\n".repeat(200));
    let parts = split(&block, Syntax::Markdown, limit(500, 5000));
    assert!(parts.len() > 4);
    for part in &parts {
        assert!(part.starts_with("```rust\nlet"), "{part}");
        assert!(part.trim_end().ends_with("\n```"), "{part}");
        assert!(is_balanced(part));
    }
}

#[test]
fn links_and_graphemes_are_kept_whole() {
    let link = "[the words](https://x.example/a/b/c)";
    let text = format!("{}{link} {}", "x".repeat(385), "y".repeat(300));
    let parts = split(&text, Syntax::Markdown, limit(400, 5000));
    assert!(parts.iter().any(|part| part.contains(link)), "{parts:?}");

    let family = "👩‍👩‍👧";
    let text = family.repeat(100);
    for part in split(&text, Syntax::Plain, limit(usize::MAX, 500)) {
        assert_eq!(part.replace(family, ""), "");
    }
}

#[test]
fn a_limit_that_holds_nothing_still_ends() {
    let parts = split("```a\nbc\n```", Syntax::Markdown, limit(1, 1));
    assert!(parts.len() <= 12);
}

#[test]
fn a_line_of_a_megabyte_is_cut_like_any_other() {
    for unit in [" ", "`", "字", "[a](", "**"] {
        let text = unit.repeat(1_000_000 / unit.len());
        let parts = split(&text, Syntax::Markdown, limit(3800, 14_000));
        assert_eq!(parts.concat(), text);
        assert!(parts.len() < 400);
    }
}

#[test]
fn tables_get_a_blank_line_before_them_outside_of_fences() {
    let table = "| a | b |\n|---|---|\n| 1 | 2 |\n";
    assert_eq!(
        with_table_borders(&format!("text\n{table}{table}")),
        format!("text\n\n{table}\n{table}")
    );
    assert_eq!(with_table_borders(table), table);
    let fenced = format!("```\nx\n{table}```\n");
    assert_eq!(with_table_borders(&fenced), fenced);
}

#[test]
fn one_grapheme_without_end_is_cut_into_full_parts() {
    let limit = Size {
        units: 3800,
        bytes: 15_000,
    };
    for endless in [
        "\u{301}".repeat(500_000),
        "\u{1f468}\u{200d}".repeat(140_000),
    ] {
        for syntax in [Syntax::Plain, Syntax::Markdown] {
            let parts = split(&endless, syntax, limit);
            assert_eq!(parts.concat(), endless);
            assert!(parts.len() < 300, "{} parts", parts.len());
        }
    }
}
