//! The thread that has a realm's database: it commits off the tasks that serve connections.

use std::thread;

use postern_store::{Backend, StoreError, Write};
use tokio::sync::{mpsc, oneshot};

/// A realm gives one order at a time, and waits for it.
const ORDERS: usize = 1;

enum Order {
    Commit(Vec<Write>, oneshot::Sender<Done>),
    Close(oneshot::Sender<()>),
}

/// The batch, and what became of it.
type Done = (Vec<Write>, Result<(), StoreError>);

/// The way to the thread. When it is dropped, the thread ends.
pub(crate) struct Disk {
    orders: mpsc::Sender<Order>,
}

impl Disk {
    pub(crate) fn begin(backend: Box<dyn Backend>) -> std::io::Result<Self> {
        let (orders, waiting) = mpsc::channel(ORDERS);
        thread::Builder::new().name("store".to_owned()).spawn(move || work(backend, waiting))?;
        Ok(Self { orders })
    }

    /// Commits the batch and gives it back. None where the thread ended by a fault of its own.
    pub(crate) async fn commit(&self, batch: Vec<Write>) -> Option<Done> {
        let (done, result) = oneshot::channel();
        self.orders.send(Order::Commit(batch, done)).await.ok()?;
        result.await.ok()
    }

    /// Ends it. What was committed is safe in any case.
    pub(crate) async fn close(self) {
        let (done, result) = oneshot::channel();
        if self.orders.send(Order::Close(done)).await.is_ok() {
            let _ = result.await;
        }
    }
}

fn work(mut backend: Box<dyn Backend>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Commit(batch, done) => {
                let result = backend.commit(&batch);
                // Who does not wait any more does not need to know.
                let _ = done.send((batch, result));
            }
            Order::Close(done) => {
                if let Err(error) = backend.close() {
                    tracing::warn!(%error, "a database was not closed properly; it is complete all the same");
                }
                let _ = done.send(());
                return;
            }
        }
    }
}
