//! How well colours are told apart, also by those who see fewer of them.
//!
//! Sight without one of the three cones is simulated in linear RGB with the matrices for severity 1.0 of G. M. Machado,
//! M. M. Oliveira and L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE
//! Transactions on Visualization and Computer Graphics 15(6), 2009. Distances are those of `OKLab` (B. Ottosson, 2020).

use egui::Color32;

type Matrix = [[f64; 3]; 3];

/// Share of lightness in how far apart two thin lines look. Chosen: on a dark or a bright ground a hue is told from another
/// one more easily than a shade from another shade.
const LIGHTNESS: f64 = 0.5;

const SIGHTS: [(&str, Matrix); 4] = [
    ("normal", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protan",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deutan",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritan",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

fn times(matrix: &Matrix, v: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

fn linear(channel: u8) -> f64 {
    let c = f64::from(channel) / 255.0;
    if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

fn oklab(rgb: [f64; 3]) -> [f64; 3] {
    let to_lms = [
        [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
        [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
        [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
    ];
    let to_lab = [
        [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
        [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
        [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
    ];
    times(&to_lab, times(&to_lms, rgb.map(|c| c.clamp(0.0, 1.0))).map(f64::cbrt))
}

fn seen(color: Color32, sight: &Matrix) -> [f64; 3] {
    oklab(times(sight, [color.r(), color.g(), color.b()].map(linear)))
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// How well the lines of two colours are told apart: how far apart they look to most, and how far at least to those who
/// lack one of the cones. From 0; the colours of one palette have 0.2 to 0.7.
pub fn told_apart(a: Color32, b: Color32) -> f64 {
    let [[_, usual], fewer @ ..] =
        SIGHTS.map(|(_, sight)| [seen(a, &sight), seen(b, &sight)]).map(|[a, b]| {
            let shaded = [(a[0] - b[0]) * LIGHTNESS, a[1] - b[1], a[2] - b[2]];
            [distance(a, b), distance(shaded, [0.0; 3])]
        });
    usual + fewer.iter().map(|[distance, _]| *distance).fold(f64::INFINITY, f64::min)
}

/// The contrast of two colours as the Web Content Accessibility Guidelines count it, from 1 to 21.
pub fn contrast(a: Color32, b: Color32) -> f64 {
    let luminance = |color: Color32| {
        let [red, green, blue] = [color.r(), color.g(), color.b()].map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    };
    let (a, b) = (luminance(a), luminance(b));
    a.max(b) / a.min(b)
}

#[cfg(test)]
mod tests {
    use super::super::tokens::{APART_DARK, APART_LIGHT, DARK, LIGHT, Tokens};
    use super::*;

    #[test]
    fn the_colours_of_series_and_of_status_stay_apart_for_every_sight() {
        for (tokens, least) in [(&DARK, APART_DARK), (&LIGHT, APART_LIGHT)] {
            let Tokens { dark, series, warn, error, .. } = tokens;
            let colors: Vec<Color32> = series.iter().copied().chain([*warn, *error]).collect();
            for (name, sight) in &SIGHTS {
                for (i, a) in colors.iter().enumerate() {
                    for b in &colors[..i] {
                        let apart = distance(seen(*a, sight), seen(*b, sight));
                        assert!(
                            apart >= least,
                            "dark {dark}, {name}: {a:?} and {b:?} are only {apart:.3} apart"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_simulation_does_what_it_says() {
        let (red, green) = (Color32::from_rgb(200, 40, 40), Color32::from_rgb(96, 110, 30));
        let apart = |sight: usize| distance(seen(red, &SIGHTS[sight].1), seen(green, &SIGHTS[sight].1));
        assert!(apart(2) < apart(0) / 2.0, "red and green come together: {} {}", apart(0), apart(2));
        let white = oklab([1.0; 3]);
        assert!((white[0] - 1.0).abs() < 1e-6 && white[1].abs() < 1e-6 && white[2].abs() < 1e-6);
    }

    #[test]
    fn contrast_is_counted_as_the_guidelines_say() {
        let (black, white) = (Color32::BLACK, Color32::WHITE);
        assert!((contrast(black, white) - 21.0).abs() < 1e-9 && (contrast(white, white) - 1.0).abs() < 1e-9);
    }
}
