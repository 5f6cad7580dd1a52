//! Arguments, logs, settings, service, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use exposia_notifications::{
    app::App,
    clock::{Clock, System},
    config::{Cli, Command, Config, ConfigFaults, Environment, Variables},
    heap, ops,
    shutdown::Signals,
    telemetry,
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// The exit code when the service cannot start, or is not healthy.
const FAILED: u8 = 1;

/// The exit code for settings that are wrong.
const BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(if error.is::<ConfigFaults>() { BAD_SETTINGS } else { FAILED })
        }
    }
}

/// Reads the settings while there is one thread, and does what they say.
fn start() -> anyhow::Result<()> {
    let variables = Variables::read().context(".env cannot be read")?;
    let cli = Cli::load(&variables)?;
    let mut threads = Builder::new_multi_thread();
    let runtime =
        threads.enable_all().on_thread_park(heap::give_back).build().map_err(|error| anyhow!("no threads: {error}"))?;
    let ended = runtime.block_on(run(cli));
    // Whatever is left hangs, as the disk does then: nobody waits for it.
    runtime.shutdown_background();
    ended
}

async fn run(Cli { command, config, effective, mistyped }: Cli) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match command {
        Some(Command::Health) => {
            let said = ops::probe(&config.listen.local_address(), config.listen.tls.is_on()).await?;
            Ok(writeln!(out, "{said}")?)
        }
        Some(Command::Check) => {
            let warnings = config.warnings(System::default().wall()).into_iter().chain(mistyped);
            warnings.into_iter().try_for_each(|warning| writeln!(io::stderr(), "warning: {warning}"))?;
            Ok(write!(out, "{effective}")?)
        }
        Some(Command::Token(tool)) => {
            Ok(tool.run(&config.gate, Arc::new(System::default()), &mut io::stdin(), &mut out).await?)
        }
        Some(Command::Journal(tool)) => Ok(tool.run(&config.journal.data_dir, &mut out)?),
        None => Box::pin(serve(config, mistyped)).await,
    }
}

async fn serve(config: Config, mistyped: Vec<String>) -> anyhow::Result<()> {
    let log = telemetry::init(&config.telemetry, config.environment == Environment::Production);
    mistyped.into_iter().for_each(|warning| tracing::warn!("{warning}"));
    // Every connection takes a file descriptor; where the system grants fewer, accepting waits for one.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut signals = Signals::install()?;
    let asked_to_end = CancellationToken::new();
    // Nothing was taken in yet, and the journal is opened so that it may be cut off at any moment.
    let mut app = tokio::select! {
        app = App::build(config) => app?,
        () = signals.next() => {
            tracing::info!("ended by a signal before it served");
            return Ok(());
        }
    };
    app.watch(log.worker.clone());
    #[cfg(debug_assertions)]
    take_faults(app.workers());
    tracing::info!(http = %app.http_address(), grpc = %app.grpc_address(), "listening");
    let two_signals = async {
        signals.next().await;
        asked_to_end.cancel();
        signals.next().await;
    };
    tokio::select! {
        () = two_signals => bail!("ended at once by a second signal"),
        ended = app.run(asked_to_end.cancelled()) => ended,
    }
}

/// One line for each fault, as the last words of a service that does not start.
#[allow(clippy::print_stderr)]
fn complain(faults: &str) {
    for fault in faults.lines() {
        eprintln!("error: {fault}");
    }
}

/// Lets whoever tests the process end a part of it: each line of standard input names one. Builds for release cannot.
#[cfg(debug_assertions)]
fn take_faults(workers: exposia_notifications::app::Workers) {
    if std::env::var_os("FAULTS_FROM_STDIN").is_some() {
        let take = move || {
            let named = io::stdin().lines().map_while(Result::ok).filter_map(|name| workers.find(&name));
            named.for_each(|worker| worker.inject(exposia_notifications::worker::InjectedFault::Panic));
        };
        std::thread::spawn(take);
    }
}
