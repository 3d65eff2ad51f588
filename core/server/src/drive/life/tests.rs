//! A realm whose disk fails and comes back.

use postern_config::SysTopics;
use postern_identity::{ListenerId, Namespace, Peer, Transport};
use postern_mqtt::Packet;
use postern_mqtt::packet::{Connect, Version};
use postern_realm::{ConnId, Departure, Kept, RealmLimits};
use postern_store::{Fault, Memory};

use super::*;
use crate::drive::outbox::{Contents, Outbox};
use crate::drive::realm::Seat;
use crate::drive::system::SystemTopics;
use crate::metrics::RealmMetrics;
use crate::report::{RealmLog, Story, Who};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    memory: Memory,
    mailbox: mpsc::Sender<Command>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let memory = Memory::default();
        let (mailbox, commands) = mpsc::channel(8);
        let disk = memory.clone();
        let kept = Kept { sessions: true, retained: true };
        let began = Instant::now();
        let open: crate::durability::Open = Box::new(move || Ok(Box::new(disk.clone())));
        let revival = Revival { open: Some(open), limits: RealmLimits::default(), kept, began };
        let metrics = Arc::new(RealmMetrics::default());
        let system = SystemTopics::new(SysTopics::default(), "node".into(), Arc::clone(&metrics), began);
        let log = RealmLog::new(Namespace::Global);
        tokio::spawn(live(Arc::new(revival), None, commands, Watch { metrics, system, log }));
        Self { memory, mailbox, next: 0 }
    }

    /// A client whose session is to be kept.
    async fn connect(&mut self, id: &str) -> (ConnId, Arc<Outbox>) {
        self.next += 1;
        let conn = ConnId(self.next);
        let outbox = Arc::new(Outbox::default());
        let connect =
            Box::new(Connect { clean_start: false, session_expiry: Some(100), ..Connect::new(Version::V5, id) });
        let story = Story::new(Peer {
            connection: conn.0,
            listener: ListenerId::new("tcp", "a"),
            transport: Transport::Tcp,
            address: "127.0.0.1:1".parse().unwrap(),
            local_port: 1,
            proxied: None,
        });
        let seat = Seat::new(Arc::clone(&outbox), Arc::new(Who::new(story, &connect, None)));
        let attach = Command::Attach { conn, connect, owner: None, rights: None, greeting: Box::default(), seat };
        self.mailbox.send(attach).await.unwrap();
        (conn, outbox)
    }
}

/// The CONNACK that must come: its reason, and whether there was a session.
async fn answer(outbox: &Outbox) -> (ReasonCode, bool) {
    let Some(Packet::ConnAck(ack)) = wait_for(outbox).await.packets.pop_front() else { panic!("a CONNACK") };
    (ack.reason, ack.session_present)
}

async fn wait_for(outbox: &Outbox) -> crate::drive::outbox::Taken {
    let until = Instant::now() + PATIENCE;
    while outbox.contents() == Contents::Nothing {
        assert!(Instant::now() < until, "nothing came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outbox.take(usize::MAX)
}

#[tokio::test]
async fn a_realm_whose_disk_fails_sends_its_clients_away_and_is_back_with_the_disk() {
    let mut world = World::new();
    let (first, outbox) = world.connect("first").await;
    assert_eq!(answer(&outbox).await, (ReasonCode::SUCCESS, false));
    world.memory.fail(Some(Fault::Broken));
    world.mailbox.send(Command::Detach { conn: first, departure: Departure::Lost }).await.unwrap();
    let (_, outbox) = world.connect("second").await;
    let taken = wait_for(&outbox).await;
    // It came with the turn that failed, or after it: there is no success in either case.
    let refused = taken
        .packets
        .iter()
        .all(|packet| matches!(packet, Packet::ConnAck(ack) if ack.reason == ReasonCode::SERVER_UNAVAILABLE));
    assert!(refused && taken.close.is_some(), "{:?}", taken.packets);
    world.memory.fail(None);
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "the realm is not back");
        let (_, outbox) = world.connect("first").await;
        match answer(&outbox).await {
            (ReasonCode::SUCCESS, is_present) => {
                assert!(is_present, "with what was kept of it");
                return;
            }
            (reason, _) => assert_eq!(reason, ReasonCode::SERVER_UNAVAILABLE),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
