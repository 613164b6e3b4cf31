//! JSON as a person reads it: in the order and the words in which it came, in as few lines as fit.

use serde::de::IgnoredAny;

/// A value with what is in it.
enum Node<'a> {
    Leaf(&'a str),
    /// The brackets, and what stands between them, with keys in an object.
    Group(char, char, Vec<(Option<&'a str>, Self)>),
}

impl Node<'_> {
    /// Characters of it in one line.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(text) => text.chars().count(),
            Self::Group(_, _, items) => {
                let each = |(key, node): &(Option<&str>, Self)| {
                    key.map_or(0, |key| key.chars().count() + 2) + node.width() + 2
                };
                (2 + items.iter().map(each).sum::<usize>()).saturating_sub(if items.is_empty() {
                    0
                } else {
                    2
                })
            }
        }
    }

    fn write(&self, out: &mut String, indent: usize, used: usize, columns: usize) {
        let Self::Group(open, close, items) = self else {
            if let Self::Leaf(text) = self {
                out.push_str(text);
            }
            return;
        };
        let in_a_line = used + self.width() <= columns;
        let line = |out: &mut String, indent: usize| {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
        };
        out.push(*open);
        for (place, (key, node)) in items.iter().enumerate() {
            if place > 0 {
                out.push_str(if in_a_line { ", " } else { "," });
            }
            if !in_a_line {
                line(out, indent + 2);
            }
            let mut before = indent + 3;
            if let Some(key) = key {
                out.push_str(key);
                out.push_str(": ");
                before += key.chars().count() + 2;
            }
            node.write(out, indent + 2, if in_a_line { 0 } else { before }, columns);
        }
        if !in_a_line {
            line(out, indent);
        }
        out.push(*close);
    }
}

/// A text of JSON in lines of about so many characters. `None`: it is not JSON, or not whole.
pub fn pretty(text: &str, columns: usize) -> Option<String> {
    // What this takes is well formed, and nested no deeper than a stack can bear.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let (node, _) = node(text.trim_start())?;
    let mut out = String::with_capacity(text.len() * 2);
    node.write(&mut out, 0, 0, columns);
    Some(out)
}

/// The value at the start of a text, and what follows it.
fn node(text: &str) -> Option<(Node<'_>, &str)> {
    let (open, close) = match text.chars().next()? {
        '{' => ('{', '}'),
        '[' => ('[', ']'),
        '"' => {
            let (text, rest) = text.split_at(string_end(text)?);
            return Some((Node::Leaf(text), rest.trim_start()));
        }
        _ => {
            let end =
                text.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(text.len());
            let (text, rest) = text.split_at(end);
            return Some((Node::Leaf(text), rest.trim_start()));
        }
    };
    let mut rest = text.get(1..)?.trim_start();
    let mut items = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(close) {
            return Some((Node::Group(open, close, items), after.trim_start()));
        }
        let mut key = None;
        if open == '{' {
            let (text, after) = rest.split_at(string_end(rest)?);
            key = Some(text);
            rest = after.trim_start().strip_prefix(':')?.trim_start();
        }
        let (value, after) = node(rest)?;
        items.push((key, value));
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

/// Where the string ends with which a text begins.
fn string_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (place, sign) in text.char_indices().skip(1) {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(place + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_shown_in_the_order_and_the_words_in_which_it_came() {
        let text =
            r#"{"type":"readings","seq":7,"points":[{"at":1,"values":{"b":21.50,"a":"x, \"}y"}}],"none":[]}"#;
        let shown = "{\n  \"type\": \"readings\",\n  \"seq\": 7,\n  \"points\": [\n    {\n      \"at\": 1,\n      \"values\": {\"b\": 21.50, \"a\": \"x, \\\"}y\"}\n    }\n  ],\n  \"none\": []\n}";
        assert_eq!(pretty(text, 45).unwrap(), shown);
        assert_eq!(pretty(r#" { "a" : [ 1 , 2 ] } "#, 44).unwrap(), r#"{"a": [1, 2]}"#);
        for text in ["", "{\"a\":[1", "{}x", &"[".repeat(100_000)] {
            assert_eq!(pretty(text, 44), None);
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,9}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".{0,5}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_json(value in json(), columns in 0_usize..80, is_spaced in any::<bool>()) {
            let text = if is_spaced { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let shown = pretty(&text, columns).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
