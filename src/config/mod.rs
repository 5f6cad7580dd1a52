//! All settings: one `Options` of each module, from flags and environment variables of the same meaning.

mod effective;
mod variables;

use std::{ffi::OsString, fmt, fs, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use clap::{
    Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Id, Parser, Subcommand, ValueEnum, error::ErrorKind,
};

pub use effective::EffectiveConfig;
pub use variables::Variables;

use crate::{broker, broker::Rules, domain::is_mistyped, egress, gate, ingress, journal, listen, telemetry};

/// ExposIA notifications: services publish events over gRPC and POST /notify, browsers receive them over WebSocket,
/// live and without loss.
///
/// Every setting is a flag and an environment variable; a file `.env` in the working directory is read too. Times are
/// written 250ms, 10s, 5m, 24h or 7d.
#[derive(Debug, Clone, Parser)]
#[command(name = "exposia-notifications", version, term_width = 100)]
pub struct Cli {
    /// What to do; without a command, serve.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The settings.
    #[command(flatten)]
    pub config: Config,

    /// The settings once more, to be shown.
    #[arg(skip)]
    pub effective: EffectiveConfig,

    /// What should be known of environment variables that are close to a setting and are none.
    #[arg(skip)]
    pub mistyped: Vec<String>,
}

/// What the binary can do besides serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Ask the service on this machine and PORT for its health, and print it; exit code 0 while it serves, healthy or degraded,
    /// and 1 if it does not.
    Health,
    /// Check all settings and what they point to, and print what is in force, without the secrets; exit code 0 if the
    /// service could start with them, 2 if not. May run beside the service.
    Check,
    /// Mint tokens for development, and see what a token is good for.
    #[command(subcommand)]
    Token(gate::TokenTool),
    /// Look after the journal in DATA_DIR.
    #[command(subcommand)]
    Journal(journal::JournalTool),
}

/// The settings of all modules.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where the service runs: `development` is open, `production` asks for a token of its own and guards what can be read.
    #[arg(long, env = "ENVIRONMENT", default_value = "development", value_name = "ENVIRONMENT")]
    pub environment: Environment,

    /// How long the service may take to shut down.
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "10s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub shutdown_grace: Duration,

    /// The listeners.
    #[command(flatten)]
    pub listen: listen::Options,

    /// Who may come in.
    #[command(flatten)]
    pub gate: gate::Options,

    /// What comes in.
    #[command(flatten)]
    pub ingress: ingress::Options,

    /// Publishing.
    #[command(flatten)]
    pub broker: broker::Options,

    /// The journal.
    #[command(flatten)]
    pub journal: journal::Options,

    /// Subscribers.
    #[command(flatten)]
    pub egress: egress::Options,

    /// Logs.
    #[command(flatten)]
    pub telemetry: telemetry::Options,
}

/// Where the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// On somebody's own machine: open, and easy to look into.
    Development,
    /// Where it counts.
    Production,
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub struct ConfigFaults(Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigFaults {}

impl Cli {
    /// Reads the command line and the `variables`, and reports all that is wrong with them at once. `--help`,
    /// `--version` and an unknown flag end the process, as clap does it.
    pub fn load(variables: &Variables) -> Result<Self, ConfigFaults> {
        let (bad, mut faults) = bad_variables(variables);
        let matches = matches(&settings_first(std::env::args_os().collect()), &bad, variables);
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.config.gate.roots = gate::Roots::named_by(|name| variables.get(name));
        cli.mistyped = mistyped(variables.names());
        let checking = matches!(cli.command, Some(Command::Check));
        if checking || !faults.is_empty() {
            // With their defaults in place of the bad ones, the settings may show further faults.
            faults.extend(cli.config.check().err().map(|ConfigFaults(more)| more).unwrap_or_default());
        }
        if checking {
            faults.extend(cli.config.faults_outside());
            cli.effective = EffectiveConfig::of(Self::command().get_arguments(), &matches, variables);
        }
        if faults.is_empty() { Ok(cli) } else { Err(ConfigFaults(faults)) }
    }
}

/// What `arguments` and `variables` say, but for the variables of the arguments that have a `bad` one.
fn matches(arguments: &[OsString], bad: &[Id], variables: &Variables) -> ArgMatches {
    let command =
        || Cli::command().mut_args(|arg| if bad.contains(arg.get_id()) { arg.env(None::<&str>) } else { arg });
    // clap asks the environment itself, and has no other place for values that stand behind it than that of the defaults.
    let with_file = |arg: Arg| match arg.get_env().and_then(|variable| variables.of_file(variable)) {
        Some(value) => {
            let value = OsString::from(value);
            arg.default_value(value)
        }
        None => arg,
    };
    match command().mut_args(with_file).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // The help shows the defaults, and nothing of the file, where secrets may be.
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                command().get_matches_from(arguments)
            }
            _ => error.exit(),
        },
    }
}

/// The arguments with what follows `check` or `health` before it: the settings that those ask about are the server's, and who tries
/// them writes them behind.
fn settings_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let named = arguments.get(1).is_some_and(|first| first == "check" || first == "health");
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    if named && !asks_for_help {
        arguments[1..].rotate_left(1);
    }
    arguments
}

/// How long a variable's name must be to be taken for a mistyped setting: short ones are anybody's.
const LONG_NAME: usize = 6;

/// What to say of those of the `variables` that are one slip away from a setting.
fn mistyped(variables: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Cli::command();
    let settings: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
    let variables = variables.filter_map(|name| name.into_string().ok()).filter(|name| name.len() >= LONG_NAME);
    let unknown = variables.filter(|name| !settings.contains(&name.as_str()));
    let meant = |name: &String| settings.iter().find(|setting| is_mistyped(name, setting));
    unknown
        .filter_map(|name| meant(&name).map(|meant| format!("{name}: there is no such setting; {meant} may be meant")))
        .collect()
}

/// Tries every variable by itself, for clap would stop at the first bad one. Gives the arguments that have a
/// bad one, and what is wrong with each.
fn bad_variables(variables: &Variables) -> (Vec<Id>, Vec<String>) {
    let without_env = || Cli::command().mut_args(|arg| arg.env(None::<&str>));
    let (mut bad, mut faults) = (Vec::new(), Vec::new());
    for arg in Cli::command().get_arguments() {
        let (Some(variable), Some(flag)) = (arg.get_env(), arg.get_long()) else { continue };
        let Some(value) = variables.get(variable) else { continue };
        let mut flag = OsString::from(format!("--{flag}="));
        flag.push(&value);
        if let Err(error) = without_env().try_get_matches_from([OsString::from("exposia-notifications"), flag]) {
            let text = error.to_string();
            // What may be written instead stands in the line below.
            let reason: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let reason = reason.join(" ");
            let reason = reason.trim_start_matches("error: ");
            faults.push(format!("{}: {reason}", variable.display()));
            bad.push(arg.get_id().clone());
        }
    }
    (bad, faults)
}

impl Config {
    /// The settings that hold when nothing is set.
    pub fn defaults() -> Self {
        let command = Cli::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(["exposia-notifications"]);
        Cli::from_arg_matches(&matches).expect("every setting has a default").config
    }

    /// Checks what the settings say together and what they point to, and gives the routing rules. Reports all faults at
    /// once.
    pub fn check(&self) -> Result<Rules, ConfigFaults> {
        let mut faults = self.gate.faults(self.environment == Environment::Production);
        let (port, grpc_port) = (self.listen.port, self.listen.grpc_port);
        if port == grpc_port && port != 0 {
            faults.push(format!("PORT and GRPC_PORT: both are {port}; give them different ports"));
        }
        faults.extend(self.listen.tls.fault().map(|fault| fault.to_string()));
        match (&self.listen.tls.mtls_ca_file, &self.gate.mtls_grants) {
            (Some(_), None) => faults.push("MTLS_CA_FILE: is of no use without MTLS_GRANTS".to_owned()),
            (None, Some(_)) => faults.push("MTLS_GRANTS: is of no use without MTLS_CA_FILE".to_owned()),
            _ => {}
        }
        let rules = self.broker.routes.as_ref().map_or_else(|| Ok(Rules::default()), read_rules);
        match rules {
            Ok(rules) if faults.is_empty() => return Ok(rules),
            Ok(_) => {}
            Err(fault) => faults.push(fault),
        }
        Err(ConfigFaults(faults))
    }

    /// What is wrong outside that the start would run into, as far as that can be seen beside a service that runs already.
    fn faults_outside(&self) -> Vec<String> {
        let journal = self.journal.check_place().map_err(|error| error.to_string());
        [self.listen.check_host(), journal].into_iter().filter_map(Result::err).collect()
    }

    /// What should be known at `now` of settings that are not wrong.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let gate = self.gate.warnings(self.environment == Environment::Production);
        let listen = self.listen.warning(self.egress.max_connections);
        let gate = gate.into_iter().map(Into::into).chain(listen).chain(self.budget_warning());
        gate.chain(self.listen.tls.warnings(now)).collect()
    }

    /// What can never be finished, because the budget of what is unfinished is smaller.
    fn budget_warning(&self) -> Option<String> {
        let (budget, message) = (self.gate.unfinished_bytes, self.egress.max_message_bytes);
        let body = self.ingress.max_body_bytes;
        let (setting, largest) =
            if body >= message { ("MAX_BODY_BYTES", body) } else { ("MAX_MESSAGE_BYTES", message) };
        (largest > budget).then(|| {
            format!(
                "UNFINISHED_BYTES: it is {budget}, and {setting} {largest}: what is larger and comes in pieces is refused each time; raise it"
            )
        })
    }
}

fn read_rules(path: &PathBuf) -> Result<Rules, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("ROUTES: {shown} cannot be read: {error}"))?;
    Rules::parse(&text).map_err(|error| format!("ROUTES: {shown}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_variable_that_is_one_slip_away_from_a_setting_is_told() {
        let said = mistyped(texts(&["GRPC_PROT", "GRPC_PORT", "POST", "HOME", "MAX_BODY_BYTE"]).into_iter());
        let expected = [
            "GRPC_PROT: there is no such setting; GRPC_PORT may be meant",
            "MAX_BODY_BYTE: there is no such setting; MAX_BODY_BYTES may be meant",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn settings_may_stand_behind_what_asks_about_them() {
        assert_eq!(settings_first(texts(&["x", "check", "--port", "1"])), texts(&["x", "--port", "1", "check"]));
        for same in [
            &["x", "--port", "1", "health"][..],
            &["x", "check", "--help"],
            &["x", "token", "mint", "--sub", "7"],
            &["x"],
        ] {
            assert_eq!(settings_first(texts(same)), texts(same));
        }
    }
}
