//! How many events a second become durable.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use exposia_notifications::wire::proto::v1::{
    PublishRequest, PublishResult, Target, notification_service_client::NotificationServiceClient,
    publish_request::Body, publish_result::Outcome,
};
use tokio::task::JoinSet;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    Result,
    args::{Args, Part},
    h2load, redis,
    redis::Redis,
    report::{self, Table},
    server::Server,
};

/// How many publish at the same time.
pub(crate) const PUBLISHERS: usize = 64;

/// How long a load is given to get going.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// How many users the events are for, in turn.
const USERS: u64 = 10_000;

/// 200 bytes of JSON.
pub(crate) const PAYLOAD: &str = concat!(
    r#"{"pad":"#,
    r#""0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"#,
    r#"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}"#,
);

pub(crate) type Client =
    NotificationServiceClient<InterceptedService<Channel, fn(Request<()>) -> std::result::Result<Request<()>, Status>>>;

/// A load that goes on until its time is over.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) done: Arc<AtomicU64>,
    ends: Instant,
}

impl Load {
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.ends
    }
}

/// Lets `count` publishers go at once, and gives how much was done a second.
async fn rate<F: Future<Output = Result<()>> + Send + 'static>(
    args: &Args,
    count: usize,
    publisher: impl Fn(usize, Load) -> F,
) -> Result<f64> {
    let load = Load { done: Arc::default(), ends: Instant::now() + WARM_UP + args.measured() };
    let mut publishers = JoinSet::new();
    for number in 0..count {
        publishers.spawn(publisher(number, load.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, since) = (load.done.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(args.measured() - Duration::from_millis(100)).await;
    let done = load.done.load(Ordering::Relaxed) - before;
    let rate = done as f64 / since.elapsed().as_secs_f64();
    while let Some(ended) = publishers.join_next().await {
        ended??;
    }
    Ok(rate)
}

/// 64 unary publishers against 64 unpipelined `XADD` clients.
pub(crate) async fn append(args: &Args) -> Result<()> {
    let memory_journal = [("JOURNAL", "memory")];
    let (mut ours, mut process, mut memory, mut tonic, mut shared) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut theirs, mut nothing, mut tonic_nothing) = (vec![], vec![], vec![]);
    for _ in 0..args.rounds() {
        ours.push(called(args, &[], h2load::PUBLISH).await?);
        process.push(called(args, &[("DURABILITY", "process")], h2load::PUBLISH).await?);
        memory.push(called(args, &memory_journal, h2load::PUBLISH).await?);
        tonic.push(unary(args, PUBLISHERS).await?);
        shared.push(unary(args, 4).await?);
        if args.with_peers() {
            theirs.push(by_redis(args).await?);
            nothing.push(called(args, &memory_journal, h2load::NOTHING).await?);
            tonic_nothing.push(empty_calls(args).await?);
        }
    }
    let title = "Durable appends, 64 publishers that wait for each answer, 200-byte payloads";
    let table = Table::new(args, Part::Append, title);
    let ours = table.line("sqlite, unary gRPC", "/s", &ours)?;
    table.line("sqlite, DURABILITY=process", "/s", &process)?;
    table.line("memory", "/s", &memory)?;
    table.line("sqlite, tonic's client", "/s", &tonic)?;
    table.line("sqlite, tonic's client, over 4 connections", "/s", &shared)?;
    if args.with_peers() {
        let theirs = table.line("redis-server, appendfsync always", "/s", &theirs)?;
        table.line("calls that do nothing (health checks)", "/s", &nothing)?;
        table.line("calls that do nothing, tonic's client", "/s", &tonic_nothing)?;
        report::note(format_args!("\nsqlite makes {:.2} times as many events durable as redis.", ours / theirs));
    }
    Ok(())
}

async fn by_redis(args: &Args) -> Result<f64> {
    let redis = Redis::start(&empty("redis")?).await?;
    let rate = rate(args, PUBLISHERS, |_, load| redis::publish(load)).await?;
    redis.stop().await?;
    Ok(rate)
}

/// Calls by `h2load`.
async fn called(args: &Args, settings: &[(&str, &str)], method: &str) -> Result<f64> {
    let server = Server::start(&empty("data")?, settings).await?;
    let rate = h2load::calls(args, &server, method).await?;
    server.stop().await?;
    Ok(rate)
}

async fn unary(args: &Args, connections: usize) -> Result<f64> {
    let server = Server::start(&empty("data")?, &[]).await?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(connect(&server.grpc).await?);
    }
    let rate =
        rate(args, PUBLISHERS, |number, load| publish(clients[number % connections].clone(), number, load)).await?;
    server.stop().await?;
    Ok(rate)
}

/// What the calls themselves cost, of server and clients: no more events than that can be published one by one.
async fn empty_calls(args: &Args) -> Result<f64> {
    let server = Server::start(&empty("data")?, &[("JOURNAL", "memory")]).await?;
    let mut channels = Vec::new();
    for _ in 0..PUBLISHERS {
        channels.push(channel(&server.grpc).await?);
    }
    let rate = rate(args, PUBLISHERS, |number, load| check(HealthClient::new(channels[number].clone()), load)).await?;
    server.stop().await?;
    Ok(rate)
}

async fn check(mut client: HealthClient<Channel>, load: Load) -> Result<()> {
    while load.goes_on() {
        client.check(HealthCheckRequest::default()).await?;
        load.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn publish(mut client: Client, number: usize, load: Load) -> Result<()> {
    let mut user = number as u64;
    while load.goes_on() {
        client.publish(request(user)).await?;
        load.done.fetch_add(1, Ordering::Relaxed);
        user += PUBLISHERS as u64;
    }
    Ok(())
}

/// One stream, as fast as it goes.
pub(crate) async fn stream(args: &Args) -> Result<()> {
    let (mut durable, mut memory) = (vec![], vec![]);
    for _ in 0..args.rounds() {
        durable.push(streamed(args, &[]).await?);
        memory.push(streamed(args, &[("JOURNAL", "memory")]).await?);
    }
    let table = Table::new(args, Part::Stream, "PublishStream, one stream, 200-byte payloads");
    let durable = table.line("sqlite", "/s", &durable)?;
    let memory = table.line("memory", "/s", &memory)?;
    report::note(format_args!("\nsqlite reaches {:.0} % of memory.", 100.0 * durable / memory));
    Ok(())
}

async fn streamed(args: &Args, settings: &[(&str, &str)]) -> Result<f64> {
    let server = Server::start(&empty("data")?, settings).await?;
    let client = connect(&server.grpc).await?;
    let rate = rate(args, 1, |_, load| publish_stream(client.clone(), load)).await?;
    server.stop().await?;
    Ok(rate)
}

async fn publish_stream(mut client: Client, load: Load) -> Result<()> {
    let (sender, requests) = tokio::sync::mpsc::channel(1_024);
    let sending = load.clone();
    tokio::spawn(async move {
        let mut user = 0;
        while sending.goes_on() && sender.send(request(user)).await.is_ok() {
            user += 1;
        }
    });
    let mut results = client.publish_stream(ReceiverStream::new(requests)).await?.into_inner();
    while let Some(result) = results.next().await.transpose()? {
        accept(result)?;
        load.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Fails unless an event was accepted.
pub(crate) fn accept(result: PublishResult) -> Result<()> {
    match result.outcome {
        Some(Outcome::Accepted(_)) => Ok(()),
        other => Err(format!("not accepted: {other:?}").into()),
    }
}

pub(crate) fn request(user: u64) -> PublishRequest {
    PublishRequest {
        event: "bench.event".to_owned(),
        source: "bench".to_owned(),
        target: Some(Target { users: vec![(user % USERS).to_string()], ..Target::default() }),
        body: Some(Body::PayloadJson(PAYLOAD.as_bytes().into())),
        ..PublishRequest::default()
    }
}

pub(crate) async fn connect(grpc: &str) -> Result<Client> {
    Ok(NotificationServiceClient::with_interceptor(channel(grpc).await?, with_token))
}

async fn channel(grpc: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{grpc}"))?.tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}

fn with_token(mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
    request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer dev"));
    Ok(request)
}

/// A directory with nothing in it.
pub(crate) fn empty(name: &str) -> Result<PathBuf> {
    let dir = Args::directory().join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
