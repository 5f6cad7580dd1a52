//! Bare writes: a second process writes prepared frames to all sockets, and nothing else. No server can exceed it.
//!
//! The writer may be so many rounds ahead of the reader as the window says. Beyond that, writes would only be queued, which is
//! far cheaper than a delivery. The reader grants a round by a byte on the writer's standard input.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Limit, Writer},
    clock, frame,
    process::Server,
    run::{PATIENCE, Run},
    swarm::Plan,
    template::{Template, Values},
};

pub(crate) fn measure(args: &Limit) -> Result<Value> {
    let mut writer = Command::new(std::env::current_exe()?)
        .args(["writer", "--cpu", &args.writer_cpu.to_string(), "--conns", &args.conns.to_string()])
        .args(["--batch", &args.batch.to_string(), "--pad", &args.pad.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    BufReader::new(writer.stdout.take().ok_or("no output")?).read_line(&mut port)?;
    let mut grants = writer.stdin.take().ok_or("no input")?;
    let address = ([127, 0, 0, 1], port.trim().parse()?).into();
    let conns = args.conns;
    let plan = Plan { address, path: None, conns, rooms: 1, hello: None, deflate: false, stalled: 0 };
    let mut run = Run::new(plan)?;
    run.connect()?;

    let server = Server::new(writer.id());
    let start = clock::now();
    let begin = start + clock::nanos(args.pace.warmup);
    let window = begin..begin + clock::nanos(args.pace.seconds);
    run.meter.restart(window.clone());
    let mut granted = 0;
    let round = u64::from(args.conns) * u64::from(args.batch);
    let mut grant = |run: &mut Run| -> Result<bool> {
        let allowed = match args.pace.rate {
            Some(rate) => (clock::seconds(clock::now() - start) * rate) as u64,
            None => run.meter.total / round + u64::from(args.pace.window),
        };
        grants.write_all(&vec![0; usize::try_from(allowed.saturating_sub(granted))?])?;
        granted = granted.max(allowed);
        Ok(false)
    };
    run.until(begin, &mut grant)?;
    let (cpu, total) = (server.cpu_seconds()?, run.meter.total);
    run.until(window.end, &mut grant)?;
    let (cpu, total) = (server.cpu_seconds()? - cpu, run.meter.total - total);
    writer.kill()?;
    writer.wait()?;
    let latency = run.meter.latency();
    Ok(
        json!({ "deliveries_per_cpu_second": total as f64 / cpu, "server_cpu": cpu / args.pace.seconds, "latency": latency }),
    )
}

/// The second process.
pub(crate) fn write(args: &Writer) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let mut sockets = Vec::new();
    for _ in 0..args.conns {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let body = Template::new(r#"{"ts":"{ts}","seq":{seq},"pad":"{pad}"}"#, args.pad);
    let (mut seq, mut payload, mut frames) = (0, Vec::new(), Vec::new());
    for _grant in std::io::stdin().lock().bytes() {
        frames.clear();
        for _ in 0..args.batch {
            payload.clear();
            body.fill(Values { ts: clock::now(), seq, ..Values::default() }, &mut payload);
            frame::put_text(&payload, &mut frames);
            seq += 1;
        }
        for socket in &sockets {
            write_all(socket, &frames)?;
        }
    }
    Ok(())
}

fn write_all(mut socket: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    let deadline = clock::now() + clock::nanos(PATIENCE);
    while !bytes.is_empty() && clock::now() < deadline {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
