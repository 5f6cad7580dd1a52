//! `h2load`: a client of 64 connections that costs next to nothing, so that what is measured is the service.

use std::fs;

use prost::Message;
use tokio::process::Command;

use crate::{
    Result,
    args::Args,
    publish::{PUBLISHERS, WARM_UP, request},
    server::Server,
};

/// What is called.
pub(crate) const PUBLISH: &str = "exposia.notifications.v1.NotificationService/Publish";
pub(crate) const NOTHING: &str = "grpc.health.v1.Health/Check";

/// Calls `method` from 64 connections that wait for each answer, and gives calls a second.
pub(crate) async fn calls(args: &Args, server: &Server, method: &str) -> Result<f64> {
    let message = if method == PUBLISH { request(0).encode_to_vec() } else { Vec::new() };
    // A gRPC message: not compressed, its length, itself.
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let file = Args::directory().join("body");
    fs::write(&file, body)?;
    let connections = PUBLISHERS.to_string();
    let output = Command::new("h2load")
        .args(["-t", "1", "-c", &connections, "-m", "1"])
        .args(["-D", &args.measured().as_secs().to_string(), "--warm-up-time", &WARM_UP.as_secs().to_string()])
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "authorization: Bearer dev"])
        .arg("-d")
        .arg(&file)
        .arg(format!("http://{}/{method}", server.grpc))
        .output()
        .await?;
    let output = String::from_utf8(output.stdout)?;
    let rate = output.split(" req/s").next().and_then(|before| before.rsplit(' ').next()).unwrap_or_default();
    let rate = rate.parse().map_err(|_| format!("h2load says: {output}"))?;
    let done = args.measured().as_secs_f64() * rate;
    // A refusal is a success to whoever speaks only HTTP.
    if method == PUBLISH && (server.accepted().await? as f64) < done {
        return Err(format!("the service accepted fewer than the {done} events that were answered").into());
    }
    Ok(rate)
}
