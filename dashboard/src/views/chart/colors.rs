//! Which colour of the palette each series of a chart has.

use std::collections::BTreeMap;

use egui::Color32;
use protocol::SeriesId;

use crate::theme::{Tokens, sight};

/// How far apart the colours of two series have to be for a series to get the one that is its own. Chosen: below are the
/// pairs that look like two shades of one colour, as the khaki and the lime of the dark palette.
const CLEARLY_APART: f64 = 0.25;
/// The contrast that a thin line should have to its ground.
const CONTRAST: f64 = 3.0;

/// The place in the palette of a series, and whether it is drawn dashed because the palette ran out.
pub(super) type Choice = (usize, bool);

/// The colours of one chart.
///
/// A colour belongs to the series' id, not to its place in the chart: the same series has the same colour in every chart,
/// unless those of its chart could be taken for it. As long as a series is shown it keeps its colour, whatever comes and
/// goes beside it.
#[derive(Debug, Clone, Default)]
pub(super) struct Colors {
    is_dark: bool,
    chosen: BTreeMap<SeriesId, Choice>,
}

impl Colors {
    /// The colours of these series, in their order.
    pub(super) fn of(&mut self, series: &[SeriesId], tokens: &Tokens) -> Vec<Choice> {
        if self.is_dark != tokens.dark {
            *self = Self { is_dark: tokens.dark, ..Self::default() };
        }
        self.chosen.retain(|id, _| series.contains(id));
        if self.chosen.len() < series.len() {
            let mut new: Vec<SeriesId> =
                series.iter().copied().filter(|id| !self.chosen.contains_key(id)).collect();
            new.sort_unstable();
            for id in new {
                let choice = self.choose(id, tokens);
                self.chosen.insert(id, choice);
            }
        }
        series.iter().map(|id| self.chosen.get(id).copied().unwrap_or_default()).collect()
    }

    fn choose(&self, id: SeriesId, tokens: &Tokens) -> Choice {
        let palette = tokens.series;
        let wish = id.0.saturating_sub(1).rem_euclid(palette.len() as i64) as usize;
        let users = |choice: Choice| self.chosen.values().filter(|chosen| **chosen == choice).count();
        // Its own colour first, and then those after it.
        let round = (0..palette.len()).map(|step| (wish + step) % palette.len());
        let free: Vec<usize> = round.clone().filter(|place| users((*place, false)) == 0).collect();
        if free.is_empty() {
            return (round.min_by_key(|place| users((*place, true))).unwrap_or(wish), true);
        }
        let others: Vec<Color32> =
            self.chosen.values().filter(|(_, dashed)| !dashed).map(|(place, _)| palette[*place]).collect();
        let apart = |place: usize| {
            let distances = others.iter().map(|other| sight::told_apart(palette[place], *other));
            distances.fold(f64::INFINITY, f64::min)
        };
        let is_clear = |place: usize| apart(place) >= CLEARLY_APART;
        let has_contrast = |place: usize| sight::contrast(palette[place], tokens.panel) >= CONTRAST;
        let place = free.iter().copied().find(|&place| is_clear(place) && has_contrast(place));
        let place = place.or_else(|| free.iter().copied().find(|&place| is_clear(place)));
        let place = place.or_else(|| free.iter().copied().max_by(|a, b| apart(*a).total_cmp(&apart(*b))));
        (place.unwrap_or(wish), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::tokens::{DARK, LIGHT};

    fn ids(of: &[i64]) -> Vec<SeriesId> {
        of.iter().copied().map(SeriesId).collect()
    }

    #[test]
    fn colours_differ_until_the_palette_ends_and_then_lines_are_dashed() {
        let series = ids(&[9, 1, 17, 2, 25, 33, 3, 41, 49, 57]);
        let assigned = Colors::default().of(&series, &DARK);
        let solid: std::collections::BTreeSet<_> = assigned.iter().filter(|(_, dashed)| !dashed).collect();
        assert_eq!(solid.len(), 8);
        let dashed: std::collections::BTreeSet<_> = assigned.iter().filter(|(_, dashed)| *dashed).collect();
        assert_eq!(dashed.len(), 2);
    }

    #[test]
    fn two_or_three_series_never_look_like_shades_of_one_colour() {
        for tokens in [&DARK, &LIGHT] {
            for (a, b, c) in (1..=8).flat_map(|a| (1..=8).map(move |b| (a, 8 + b, 20 + a * b))) {
                let colors = Colors::default().of(&ids(&[a, b, c]), tokens);
                let colors: Vec<Color32> = colors.iter().map(|(place, _)| tokens.series[*place]).collect();
                for (i, color) in colors.iter().enumerate() {
                    let contrast = sight::contrast(*color, tokens.panel);
                    assert!(contrast >= CONTRAST, "{a} {b} {c}: {color:?} has a contrast of {contrast:.1}");
                    for other in &colors[..i] {
                        let apart = sight::told_apart(*color, *other);
                        assert!(apart >= CLEARLY_APART, "{a} {b} {c}: {color:?} {other:?} {apart:.2}");
                    }
                }
            }
        }
        // The khaki and the lime of the dark palette, as two cold rooms had them.
        let of = |of: &[i64]| Colors::default().of(&ids(of), &DARK);
        assert_eq!(of(&[2])[0].0, 1);
        assert_eq!(of(&[7])[0].0, 6);
        assert_ne!(of(&[2, 7])[1].0, 6);
    }

    #[test]
    fn a_series_keeps_its_colour_when_others_come_and_go() {
        let mut colors = Colors::default();
        let before = colors.of(&ids(&[3, 5]), &DARK);
        let after = colors.of(&ids(&[11, 5, 2, 3, 1]), &DARK);
        assert_eq!((after[3], after[1]), (before[0], before[1]));
        let last = colors.of(&ids(&[11, 1]), &DARK);
        assert_eq!((last[0], last[1]), (after[0], after[4]));
        // Of another palette there are others.
        assert_eq!(colors.of(&ids(&[11, 1]), &LIGHT), Colors::default().of(&ids(&[11, 1]), &LIGHT));
    }
}
