//! Which colour of the palette each series of a chart has.

use protocol::SeriesId;

/// The place in the palette of each series, and whether it is drawn dashed because the palette ran out.
///
/// A colour belongs to the series' id, not to its place in the chart: the same series has the same colour in every
/// chart, unless another one of that chart has a better claim to it. Adding a series with a higher id moves no colour.
pub(super) fn assign(series: &[SeriesId], palette: usize) -> Vec<(usize, bool)> {
    let palette = palette.max(1);
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by_key(|&i| series[i]);
    let mut users = vec![0_usize; palette];
    let mut assigned = vec![(0, false); series.len()];
    for i in order {
        let wish = (series[i].0.saturating_sub(1)).rem_euclid(palette as i64) as usize;
        let least = users.iter().copied().min().unwrap_or(0);
        let place =
            (0..palette).map(|step| (wish + step) % palette).find(|&p| users[p] == least).unwrap_or(wish);
        users[place] += 1;
        assigned[i] = (place, users[place] > 1);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_differ_until_the_palette_ends_and_then_lines_are_dashed() {
        let series: Vec<_> = [9, 1, 17, 2, 25, 33, 3, 41, 49, 57].map(SeriesId).into();
        let assigned = assign(&series, 8);
        let solid: std::collections::BTreeSet<_> = assigned.iter().filter(|(_, dashed)| !dashed).collect();
        assert_eq!(solid.len(), 8);
        assert_eq!(assigned.iter().filter(|(_, dashed)| *dashed).count(), 2);
    }

    #[test]
    fn a_series_keeps_its_colour_when_others_come() {
        let before = assign(&[SeriesId(3), SeriesId(5)], 8);
        let after = assign(&[SeriesId(11), SeriesId(5), SeriesId(3)], 8);
        assert_eq!((after[2], after[1]), (before[0], before[1]));
    }
}
