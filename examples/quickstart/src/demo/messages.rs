//! One topic, two tenants: a message stays in the tenant where it was published.

use super::{Stage, Trouble};
use crate::device::{self, Message};
use crate::pki::Device;
use crate::screen::Table;

const TOPIC: &str = "plant/temperature";
const ACME: &str = "21.5 degrees, from acme";
const GLOBEX: &str = "17.0 degrees, from globex";

pub(super) async fn show(stage: &Stage<'_>, devices: Vec<(Device, device::Device)>) -> Result<(), Trouble> {
    stage.heading(&format!("4. Both tenants use the topic {TOPIC}, and never meet"));
    let mut cast = Cast::from(devices)?;
    let mut table = Table::new(["who", "what happened"]);
    let outcome = play(&mut cast, &mut table).await;
    print!("{}", table.render(stage.colours));
    outcome?;
    for client in [cast.publisher, cast.subscriber, cast.other].into_iter().chain(cast.rest) {
        client.disconnect().await;
    }
    Ok(())
}

struct Cast {
    publisher: device::Device,
    subscriber: device::Device,
    other: device::Device,
    rest: Vec<device::Device>,
}

impl Cast {
    fn from(devices: Vec<(Device, device::Device)>) -> Result<Self, Trouble> {
        let (mut publisher, mut subscriber, mut other, mut rest) = (None, None, None, Vec::new());
        for (who, client) in devices {
            match who.label().as_str() {
                "acme/sensor-1" => publisher = Some(client),
                "acme/gateway-7" => subscriber = Some(client),
                "globex/meter-3" => other = Some(client),
                _ => rest.push(client),
            }
        }
        let missing = || Trouble::Otherwise("a device is missing".to_owned());
        Ok(Self {
            publisher: publisher.ok_or_else(missing)?,
            subscriber: subscriber.ok_or_else(missing)?,
            other: other.ok_or_else(missing)?,
            rest,
        })
    }
}

/// That a message did not come is shown by the next one: globex publishes after acme's message has been
/// delivered, and the first thing that globex's subscriber sees is that. The other way round likewise.
async fn play(cast: &mut Cast, table: &mut Table<2>) -> Result<(), Trouble> {
    cast.subscriber.subscribe(TOPIC).await?;
    cast.other.subscribe(TOPIC).await?;

    cast.publisher.publish(TOPIC, ACME).await?;
    table.right(["acme/sensor-1".into(), format!("published \"{ACME}\"")]);
    first_is(&cast.subscriber.message().await?, ACME, "acme/gateway-7", table)?;

    cast.other.publish(TOPIC, GLOBEX).await?;
    table.right(["globex/meter-3".into(), format!("published \"{GLOBEX}\"")]);
    first_is(&cast.other.message().await?, GLOBEX, "globex/meter-3", table)?;

    let again = format!("{ACME}, again");
    cast.publisher.publish(TOPIC, &again).await?;
    table.right(["acme/sensor-1".into(), format!("published \"{again}\"")]);
    first_is(&cast.subscriber.message().await?, &again, "acme/gateway-7", table)
}

fn first_is(message: &Message, expected: &str, who: &str, table: &mut Table<2>) -> Result<(), Trouble> {
    let received = crate::screen::one_line(&message.payload, 80);
    if message.topic == TOPIC && message.payload == expected {
        table.right([who.to_owned(), format!("received  \"{received}\", and nothing of the other tenant before it")]);
        return Ok(());
    }
    table.wrong([who.to_owned(), format!("received  \"{received}\" on {}", message.topic)]);
    Err(Trouble::Otherwise(format!("{who} received \"{received}\" where \"{expected}\" was due")))
}
