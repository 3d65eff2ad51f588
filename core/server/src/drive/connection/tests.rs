//! A connection between a client that reads when it likes and a realm that is played here.

use bytes::BytesMut;
use postern_mqtt::packet::{Message, Publish, QoS};
use postern_mqtt::{Limits, Topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::outbox::{PARK_BYTES, RESUME_BYTES};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    client: DuplexStream,
    outbox: Arc<Outbox>,
    commands: mpsc::Receiver<Command>,
    metrics: Arc<RealmMetrics>,
    driven: JoinHandle<Ended>,
}

/// A client of 5.0 with this keep-alive, let in, on a stream that holds 100 bytes.
fn enter(keep_alive_s: u8, send_timeout: Duration) -> Bench {
    let began = Instant::now();
    let mut link = Link::new(Limits::default(), 0);
    let connect = [b"\x10\x0e\x00\x04MQTT\x05\x02\x00", &[keep_alive_s][..], b"\x00\x00\x01a"].concat();
    assert!(matches!(link.receive(0, &mut BytesMut::from(&connect[..])), Ok(Some(Packet::Connect(_)))));
    let (client, stream) = tokio::io::duplex(100);
    let (realm, commands) = mpsc::channel(16);
    let outbox = Arc::new(Outbox::default());
    outbox.put(Packet::ConnAck(Box::default()));
    let metrics = Arc::new(RealmMetrics::default());
    let connection = Connection {
        conn: ConnId(1),
        stream,
        link,
        input: BytesMut::new(),
        outbox: Arc::clone(&outbox),
        realm,
        mounted: Mounted::default(),
        allowance: Allowance::new(None, None, Arc::clone(&metrics)),
        paused_until: None,
        reauthentication: None,
        began,
        metrics: Arc::clone(&metrics),
        stall: Stall::new(send_timeout),
        unflushed: false,
        read_first: false,
    };
    Bench { client, outbox, commands, metrics, driven: tokio::spawn(connection.drive()) }
}

impl Bench {
    fn publish(&self, bytes: usize) {
        self.outbox.put(Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            packet_id: None,
            message: Arc::new(Message::new(Topic::new("t").unwrap(), vec![b'x'; bytes].into())),
            expiry_left: None,
            subscription_ids: Vec::new(),
        }));
    }

    async fn command(&mut self) -> Command {
        tokio::time::timeout(PATIENCE, self.commands.recv()).await.expect("a word in time").expect("a word")
    }

    async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        tokio::time::timeout(PATIENCE, self.client.read_exact(&mut read)).await.expect("bytes in time").unwrap();
        read
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_told_0x97_and_lost() {
    let mut bench = enter(0, Duration::from_millis(100));
    bench.publish(200_000);
    bench.outbox.wake();
    let Command::Detach { departure, .. } = bench.command().await else { panic!("nothing else is to be said") };
    assert!(matches!(departure, Departure::Lost), "its will goes out");
    // It reads in the end.
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, bench.client.read_to_end(&mut rest)).await.unwrap().unwrap();
    let goodbye = rest.iter().rposition(|&byte| byte == 0xE0).expect("a DISCONNECT");
    assert_eq!(rest[goodbye + 2], 0x97);
    let ended = bench.driven.await.unwrap();
    assert!(matches!(&ended, Ended::Broken(text) if text.contains("within send_timeout (100ms)")), "{ended}");
    assert_eq!(bench.metrics.closed_as_slow_total(), 1);
}

#[tokio::test]
async fn a_parked_client_that_takes_what_it_has_goes_on() {
    let mut bench = enter(0, PATIENCE);
    let messages = PARK_BYTES / 50_000 + 1;
    (0..messages).for_each(|_| bench.publish(50_000));
    assert!(bench.outbox.park());
    bench.outbox.wake();
    // One packet more than there is room for is taken out at most, so it does not go on before it read.
    let part = PARK_BYTES - RESUME_BYTES - 2 * OUTPUT_HIGH_BYTES;
    bench.read(part).await;
    assert!(bench.commands.try_recv().is_err());
    bench.read(messages * 50_000 - part).await;
    assert!(matches!(bench.command().await, Command::Resumed { conn: ConnId(1) }));
    assert!(bench.commands.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn what_is_not_read_by_us_is_not_held_against_the_clients_keep_alive() {
    let mut bench = enter(1, PATIENCE);
    // More than the output holds: nothing is read any more.
    (0..3).for_each(|_| bench.publish(OUTPUT_HIGH_BYTES));
    bench.outbox.wake();
    bench.read(10).await;
    bench.client.write_all(&[0xC0, 0]).await.unwrap();
    // Longer than one and a half keep-alive intervals.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!bench.driven.is_finished());
    let mut last = Vec::new();
    while !last.ends_with(&[0xD0, 0]) {
        last.extend(bench.read(1).await);
    }
    assert!(bench.commands.try_recv().is_err(), "it is still there");
}

#[tokio::test]
async fn a_client_that_is_stuck_is_closed_when_the_realm_says_so() {
    let mut bench = enter(0, PATIENCE);
    (0..10).for_each(|_| bench.publish(OUTPUT_HIGH_BYTES));
    bench.outbox.wake();
    bench.read(10).await;
    bench.outbox.close(Some(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER)));
    bench.outbox.wake();
    assert!(matches!(bench.command().await, Command::Detach { .. }));
    let ended = bench.driven.await.unwrap();
    assert!(matches!(ended, Ended::Closed(ReasonCode::SESSION_TAKEN_OVER)), "{ended}");
}
