//! The settings as they are typed: a number is used when it is finished and can be used, not with every digit.

use crate::settings::{Number, Settings};

/// What stands in the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsForm {
    typed: [String; Number::ALL.len()],
}

impl SettingsForm {
    /// The fields as the settings are.
    pub fn of(settings: &Settings) -> Self {
        Self { typed: Number::ALL.map(|number| number.of(settings).to_string()) }
    }

    /// What stands in one of them.
    pub fn typed(&self, number: Number) -> &str {
        &self.typed[number as usize]
    }

    pub(super) fn set(&mut self, number: Number, text: String) {
        self.typed[number as usize] = text;
    }
}
