//! The settings as they are in force, to be shown.

use std::fmt;

use clap::{Arg, ArgMatches, parser::ValueSource};

use crate::config::Variables;

/// Every setting with its value and where that comes from; of a secret only whether there is one.
#[derive(Debug, Clone, Default)]
pub struct EffectiveConfig(Vec<Setting>);

#[derive(Debug, Clone)]
struct Setting {
    variable: String,
    source: &'static str,
    value: String,
}

impl EffectiveConfig {
    pub(super) fn of<'a>(
        arguments: impl Iterator<Item = &'a Arg>,
        matches: &ArgMatches,
        variables: &Variables,
    ) -> Self {
        Self(arguments.filter_map(|arg| Setting::of(arg, matches, variables)).collect())
    }
}

impl Setting {
    /// What is set for `arg`; `None` if it is no setting.
    fn of(arg: &Arg, matches: &ArgMatches, variables: &Variables) -> Option<Self> {
        let variable = arg.get_env()?;
        let id = arg.get_id().as_str();
        let source = match matches.value_source(id) {
            None => "not set",
            Some(ValueSource::DefaultValue) if variables.of_file(variable).is_none() => "default",
            Some(ValueSource::DefaultValue) => "environment",
            Some(ValueSource::EnvVariable) => "environment",
            Some(_) => "flag",
        };
        let values = matches.get_raw(id).into_iter().flatten();
        let value = match arg.is_hide_env_values_set() && source != "not set" {
            true => "[secret]".to_owned(),
            false => values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","),
        };
        let variable = variable.to_string_lossy().into_owned();
        Some(Self { variable, source, value })
    }
}

impl fmt::Display for EffectiveConfig {
    /// A line for each setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|setting| setting.variable.len()).max().unwrap_or(0);
        for Setting { variable, source, value } in &self.0 {
            writeln!(f, "{}", format!("{variable:width$}  {source:11}  {value}").trim_end())?;
        }
        Ok(())
    }
}
