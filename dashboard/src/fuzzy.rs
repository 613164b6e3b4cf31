//! How well a text fits what was typed: every word must be found, as it is or with its letters in order.

/// What a word gives that stands at the beginning of a word of the text.
const WORD_START: i32 = 100;
/// What it gives inside a word.
const INSIDE: i32 = 60;
/// What its letters give that are there in order with others between.
const SCATTERED: i32 = 30;
/// Shortest word whose letters may be scattered: with fewer, everything would fit.
const SCATTERED_MIN: usize = 3;

/// What was typed, ready to be compared with many texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    words: Vec<String>,
}

impl Query {
    /// Takes what was typed; upper and lower case are the same.
    pub fn new(text: &str) -> Self {
        Self { words: text.to_lowercase().split_whitespace().map(str::to_owned).collect() }
    }

    /// Whether nothing was typed.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How well a text in lower case fits, higher is better; `None`: not at all.
    pub fn score(&self, text: &str) -> Option<i32> {
        let mut total = 0;
        for word in &self.words {
            total += score_word(word, text)?;
        }
        // Of two that fit alike, the shorter one was meant.
        Some(total * 16 - text.len().min(240) as i32 / 4)
    }
}

fn score_word(word: &str, text: &str) -> Option<i32> {
    let mut best = None;
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(word)).map(|at| at + from) {
        let before = text[..at].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric()) {
            let whole = text[at + word.len()..].chars().next().is_none_or(|c| !c.is_alphanumeric());
            return Some(WORD_START + i32::from(whole) * 10 + i32::from(at == 0) * 5);
        }
        best = Some(INSIDE);
        from = at + text[at..].chars().next().map_or(1, char::len_utf8);
    }
    best.or_else(|| scattered(word, text))
}

/// The letters in order, the first one at the beginning of a word; the farther apart, the less it gives.
fn scattered(word: &str, text: &str) -> Option<i32> {
    if word.chars().count() < SCATTERED_MIN {
        return None;
    }
    let first = word.chars().next()?;
    let mut best: Option<i32> = None;
    let mut before = None;
    for (at, c) in text.char_indices() {
        let starts = before.is_none_or(|b: char| !b.is_alphanumeric());
        before = Some(c);
        if !starts || c != first {
            continue;
        }
        let mut rest = text[at..].chars();
        let mut skipped = 0;
        let fits = word.chars().all(|wanted| {
            for c in rest.by_ref() {
                if c == wanted {
                    return true;
                }
                skipped += 1;
            }
            false
        });
        if fits {
            let score = SCATTERED - skipped.min(SCATTERED - 1);
            best = Some(best.map_or(score, |b| b.max(score)));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(typed: &str, text: &str) -> Option<i32> {
        Query::new(typed).score(text)
    }

    #[test]
    fn every_word_must_fit_in_any_order() {
        assert!(score("hum green", "humidity · greenhouse-01").is_some());
        assert!(score("green hum", "humidity · greenhouse-01").is_some());
        assert!(score("hum blue", "humidity · greenhouse-01").is_none());
        assert!(score("", "anything").is_some());
    }

    #[test]
    fn a_beginning_is_better_than_a_middle_and_that_better_than_letters() {
        let (start, inside, letters) =
            (score("set", "set target"), score("get", "set target"), score("stt", "set target"));
        assert!(start > inside && inside > letters && letters.is_some(), "{start:?} {inside:?} {letters:?}");
    }

    #[test]
    fn of_two_alike_the_shorter_one_wins() {
        assert!(score("pump", "pump-1") > score("pump", "pump-1 of the northern hall"));
    }

    #[test]
    fn any_text_is_survived() {
        for typed in ["", " ", "ß", "é e", "日本", "\u{1F600}", "a\u{301}"] {
            for text in ["", "ß", "straße é", "日本語 日本", "\u{1F600}\u{1F600}", "a\u{301}a\u{301}"]
            {
                score(typed, text);
            }
        }
    }
}
