//! What a viewer chooses: series by pattern or by id.

use serde::{Deserialize, Serialize};

use crate::name::SeriesId;

/// A choice of series: those named by `series`, and those whose device and metric match a pattern each.
///
/// A pattern is a name in which `*` stands for any text and `?` for any one character.
/// An empty list of patterns matches everything, unless `series` is given: then only those count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Select {
    /// Patterns of device ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Patterns of metric names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// Series by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesId>,
}

impl Select {
    /// Everything there is and will be.
    pub fn all() -> Self {
        Self::default()
    }

    /// These series and no others.
    pub fn series(series: impl IntoIterator<Item = SeriesId>) -> Self {
        Self { series: series.into_iter().collect(), ..Self::default() }
    }

    /// Whether the series is chosen.
    pub fn matches(&self, series: SeriesId, device: &str, metric: &str) -> bool {
        if self.series.contains(&series) {
            return true;
        }
        if self.devices.is_empty() && self.metrics.is_empty() {
            return self.series.is_empty();
        }
        let any = |patterns: &[String], name: &str| {
            patterns.is_empty() || patterns.iter().any(|p| pattern_matches(p, name))
        };
        any(&self.devices, device) && any(&self.metrics, metric)
    }
}

/// Whether `name` fits `pattern`, where `*` stands for any text and `?` for any one character.
///
/// Linear in practice and at worst `pattern.len() * name.len()`: no exponential patterns.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    let (p, n) = (pattern.as_bytes(), name.as_bytes());
    let (mut pi, mut ni) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while ni < n.len() {
        if pi < p.len() && p[pi] == b'*' {
            star = Some((pi, ni));
            pi += 1;
        } else if pi < p.len() && (p[pi] == n[ni] || p[pi] == b'?') {
            pi += 1;
            ni += 1;
        } else if let Some((star_pi, star_ni)) = star {
            star = Some((star_pi, star_ni + 1));
            pi = star_pi + 1;
            ni = star_ni + 1;
        } else {
            return false;
        }
    }
    p[pi..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("pump-*", "pump-01", true),
            ("pump-?", "pump-01", false),
            ("*-01", "pump-01", true),
            ("p*p*1", "pump-01", true),
            ("pump", "pump-01", false),
            ("", "x", false),
        ] {
            assert_eq!(pattern_matches(pattern, name), fits, "{pattern} against {name}");
        }
    }

    #[test]
    fn a_selection_by_id_chooses_no_others() {
        let select = Select::series([SeriesId(3)]);
        assert!(select.matches(SeriesId(3), "a", "b"));
        assert!(!select.matches(SeriesId(4), "a", "b"));
        assert!(Select::all().matches(SeriesId(4), "a", "b"));
        let both = Select {
            devices: vec!["pump-*".into()],
            metrics: vec!["flow".into()],
            series: vec![SeriesId(9)],
        };
        assert!(both.matches(SeriesId(1), "pump-01", "flow"));
        assert!(!both.matches(SeriesId(1), "pump-01", "pressure"));
        assert!(both.matches(SeriesId(9), "x", "y"));
    }
}
