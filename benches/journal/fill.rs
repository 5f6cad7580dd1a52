//! A journal of a size, written by the service that is measured: another revision's may have another layout.

use std::time::Instant;

use exposia_notifications::wire::proto::v1::{PublishRequest, Target};
use futures_util::StreamExt;
use serde_json::Value;
use tokio_stream::iter;

use crate::{
    Result,
    publish::{accept, connect, request},
    replay::{MISSED, open},
    report,
    server::Server,
};

/// The name of a user who misses what is filled in.
pub(crate) fn user(number: u64) -> String {
    format!("m{number}")
}

/// Gives each user what it missed, all over the journal, as far as an earlier run did not. Answers the epoch.
pub(crate) async fn fill(server: &Server, users: u64) -> Result<String> {
    let entries = users * MISSED as u64;
    let (first, started) = (server.accepted().await?, Instant::now());
    if first < entries {
        let mut client = connect(&server.grpc).await?;
        let events = iter((first..entries).map(move |number| to(number % users)));
        let mut results = client.publish_stream(events).await?.into_inner();
        while let Some(result) = results.next().await.transpose()? {
            accept(result)?;
        }
        let rate = (entries - first) as f64 / started.elapsed().as_secs_f64();
        report::note(format_args!("filled with {rate:.0} entries a second over one stream, DURABILITY=process"));
    }
    let established =
        open(&server.http, "filling", "user_id=filling").await?.next().await.ok_or("no first message")??;
    let established: Value = serde_json::from_str(established.to_text()?)?;
    Ok(established["epoch"].as_str().ok_or("no epoch")?.to_owned())
}

fn to(number: u64) -> PublishRequest {
    PublishRequest { target: Some(Target { users: vec![user(number)], ..Target::default() }), ..request(0) }
}
