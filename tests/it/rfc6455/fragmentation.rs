//! Sections 5.4 and 5.5: messages in fragments, and control frames between and beside them.

use super::{
    Answer::{Close, Pong},
    Bench, Case, chat, check,
    frame::{BINARY, CLOSE, CONTINUATION, CONTROL, FIN, PING, PONG, TEXT, close, fragments, masked},
    message,
};

const MESSAGE: &[u8] = br#"{"type":"ping"}"#;

// RFC 6455, 5.4: the content of the fragments together is the message, wherever it was cut, into however many
#[tokio::test]
async fn fragments_are_one_message() {
    let mut bench = Bench::start().await;
    for opcode in [TEXT, BINARY] {
        for cut in 0..=MESSAGE.len() {
            let (first, rest) = MESSAGE.split_at(cut);
            let sends = fragments(opcode, &[first, rest]).concat();
            bench.check(Case::new(format!("opcode {opcode}, cut after {cut}"), sends, [message("pong")])).await;
        }
        let bytes: Vec<_> = MESSAGE.chunks(1).collect();
        bench.check(Case::new("byte by byte", fragments(opcode, &bytes).concat(), [message("pong")])).await;
        let with_gaps = [&[], &MESSAGE[..3], &[], &[], &MESSAGE[3..], &[]].map(|part: &[u8]| part);
        bench.check(Case::new("some empty", fragments(opcode, &with_gaps).concat(), [message("pong")])).await;
        let nothing = fragments(opcode, &[b"", b"", b""]).concat();
        bench.check(Case::new("all empty, which is no JSON", nothing, [message("error")])).await;
    }
}

// RFC 6455, 5.4: control frames may come between fragments, and are answered there
#[tokio::test]
async fn control_frames_between_fragments_are_answered_at_once() {
    let mut bench = Bench::start().await;
    for cut in 0..=MESSAGE.len() {
        let (first, rest) = MESSAGE.split_at(cut);
        let [start, end] = fragments(TEXT, &[first, rest]).try_into().expect("two");
        let cases = [
            ("a ping", masked(FIN | PING, b"hola"), vec![Pong(b"hola".to_vec()), message("pong")]),
            ("an empty ping", masked(FIN | PING, b""), vec![Pong(vec![]), message("pong")]),
            ("a pong", masked(FIN | PONG, b"hola"), vec![message("pong")]),
            ("a close", close(1000, b""), vec![Close(Some(1000))]),
        ];
        for (what, between, answers) in cases {
            let sends = [&start[..], &between, &end].concat();
            bench.check(Case::new(format!("{what} after {cut} bytes"), sends, answers)).await;
        }
    }
}

// RFC 6455, 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message"
#[tokio::test]
async fn fragments_out_of_order_close_with_1002() {
    let unfinished = masked(TEXT, b"{");
    let unfinished_binary = masked(BINARY, b"{");
    let mut cases = vec![
        Case::closes("a continuation of nothing", masked(CONTINUATION, b"a"), 1002),
        Case::closes("an end of nothing", masked(FIN | CONTINUATION, b"a"), 1002),
    ];
    for (first, name) in [(unfinished, "text"), (unfinished_binary, "binary")] {
        for second in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
            let sends = [&first[..], &masked(second, b"a")].concat();
            cases.push(Case::closes(format!("{second:x} within {name}"), sends, 1002));
        }
    }
    let complete = fragments(TEXT, &[MESSAGE, b""]).concat();
    let sends = [&complete[..], &masked(FIN | CONTINUATION, b"")].concat();
    cases.push(Case::new("a continuation after the end", sends, [message("pong"), Close(Some(1002))]));
    check(cases).await;
}

// RFC 6455, 5.5: control frames "MUST NOT be fragmented"
#[tokio::test]
async fn a_fragmented_control_frame_closes_with_1002() {
    let sizes = [0, 1, 2, 125];
    let each = CONTROL.into_iter().flat_map(|opcode| sizes.map(|size| (opcode, size)));
    check(each.map(|(opcode, size)| {
        let sends = [masked(opcode, &vec![3; size]), masked(FIN | CONTINUATION, b"")].concat();
        Case::closes(format!("opcode {opcode:x}, {size} bytes"), sends, 1002)
    }))
    .await;
}

// RFC 6455, 5.5.2 and 5.5.3: a ping is answered by a pong with the same content, in order; a pong by nothing
#[tokio::test]
async fn pings_are_answered_and_pongs_are_not() {
    let content = |size| (0..=u8::MAX).cycle().skip(200).take(size).collect::<Vec<_>>();
    let mut cases: Vec<_> = [0, 1, 2, 64, 124, 125]
        .map(|size| Case::new(format!("{size} bytes"), masked(FIN | PING, &content(size)), [Pong(content(size))]))
        .into();
    let many = (0..100_u8).flat_map(|number| masked(FIN | PING, &[number])).collect::<Vec<_>>();
    cases.push(Case::new("a hundred at once", many, (0..100_u8).map(|number| Pong(vec![number])).collect::<Vec<_>>()));
    cases.push(Case::new("pongs that nobody asked for", masked(FIN | PONG, b"hola").repeat(3), []));
    let mixed = [masked(FIN | PONG, b"a"), masked(FIN | PING, b"b"), masked(FIN | TEXT, MESSAGE)].concat();
    cases.push(Case::new("beside a message", mixed, [Pong(b"b".to_vec()), message("pong")]));
    check(cases).await;
}

// RFC 6455, 7.4.1: the limit holds for a message, and not for each of its fragments
#[tokio::test]
async fn fragments_that_are_too_large_together_close_with_1009() {
    let part = vec![b'a'; 131_072];
    let within = fragments(TEXT, &[&part, &part]).concat();
    let above = fragments(TEXT, &[&part, &part, b"a"]).concat();
    check([
        Case::new("262,144 bytes, which are no JSON", within, [message("error")]),
        Case::closes("262,145 bytes", above, 1009),
    ])
    .await;
}

// RFC 6455, 5.4: what was said before a fault counts
#[tokio::test]
async fn what_was_complete_before_a_fault_is_done() {
    let mut bench = Bench::start().await;
    let mut raw = bench.client_in("general").await;
    raw.write(&[masked(FIN | TEXT, &chat("hola")), masked(CLOSE, b"")].concat()).await;
    assert_eq!(raw.close_code().await, 1002);
    assert_eq!(bench.bystander.next_of_type("chat_message").await["message"], "hola");
}
