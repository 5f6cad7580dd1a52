//! Quiet, then a flood, in one run against one server.

use std::{ops::Range, process::Stdio, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

use crate::{
    Result,
    args::{Beside, Flooding},
    failed,
    healthy::{Healthy, SUBSCRIBERS, Seen},
    memory,
    samples::{Watch, latency},
};

/// How long healthy clients go on before anything is measured.
const BEGINNING: Duration = Duration::from_secs(2);

/// How long a flood may take until it stands.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(args: &Beside) -> Result<Value> {
    let clock = Watch::start();
    let healthy = Healthy::begin(args.flood.target.get(), clock).await?;
    sleep(BEGINNING).await;
    let quiet = clock.now();
    sleep(Duration::from_secs_f64(args.quiet)).await;
    let resident = memory::resident(args.pid)?;
    memory::forget_peak(args.pid)?;
    let begun = clock.now();
    let mut flood = Flood::start(&args.flood)?;
    flood.stands().await?;
    let stood = clock.now();
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let ended = clock.now();
    let peak = memory::peak(args.pid)?;
    let openings = flood.end().await?;
    let seen = healthy.end().await?;
    let refused = seen.refused();
    Ok(json!({
        "quiet": times(&seen, quiet..begun),
        "beside": times(&seen, begun..ended),
        "stood_in": (stood - begun) as f64 / 1e9,
        "openings": openings,
        "published": seen.accepted() + refused.len(),
        "refused": refused.len(),
        "first_refusal": refused.first(),
        "received_of_sent": seen.delivered.len() as f64 / (seen.accepted() * SUBSCRIBERS) as f64,
        "resident_in_quiet": resident,
        "above_quiet": peak.saturating_sub(resident),
    }))
}

/// How long deliveries, and the answers of each way to publish, took that were due in `window`.
fn times(seen: &Seen, window: Range<u64>) -> Value {
    let mut times = Map::from_iter([("delivery".to_owned(), latency(&seen.delivered, window.clone()))]);
    for answered in &seen.answered {
        times.insert(format!("{:?}", answered.way), latency(&answered.accepted, window.clone()));
    }
    times.into()
}

/// The process that floods. It ends with this one.
struct Flood {
    process: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Flood {
    fn start(args: &Flooding) -> Result<Self> {
        let mut process = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .args(["flood", "--kind", args.kind.name, "--part", &args.part.to_string()])
            .args(["--http", &args.target.http.to_string(), "--grpc", &args.target.grpc.to_string()])
            .args(["--openings", &args.openings.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err("the flood has no pipes".into()) };
        Ok(Self { process, stdin, said: BufReader::new(stdout).lines() })
    }

    async fn stands(&mut self) -> Result<()> {
        let said = timeout(PATIENCE, self.said.next_line()).await.map_err(|_| failed("the flood does not stand"))?;
        if said?.as_deref() == Some("stands") { Ok(()) } else { Err("the flood ended before it stood".into()) }
    }

    /// Ends it. Gives how many connections it opened.
    async fn end(mut self) -> Result<u64> {
        drop(self.stdin);
        let openings = self.said.next_line().await?.ok_or_else(|| failed("the flood does not say what it did"))?;
        self.process.wait().await?;
        Ok(openings.parse()?)
    }
}
