//! One connection to a listener that leads to one destination, whatever is spoken on it.

use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::book::Verdict;
use crate::destination::Destination;
use crate::dial::dial;
use crate::forward::Cut;
use crate::model::{Model, Visit};
use crate::tunnel::{BUFFER_BYTES, join, reset};

/// Serves a connection, to its end. One that is not made is reset: there is no language to say why
/// in, beside the log.
pub async fn serve(stream: TcpStream, destination: &Destination, model: &Model) {
    let _ = stream.set_nodelay(true);
    let mut visit = Visit::new(model);
    visit.asks_for(destination);
    let (server, address) = match dial(model, destination).await {
        Ok(made) => made,
        Err(undone) => {
            let _ = stream.set_zero_linger();
            return visit.decided(undone.verdict, undone.address, undone.why);
        }
    };
    visit.decided(Verdict::Allowed, Some(address), "");
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let work = join(&mut reader, &mut writer, server, &visit.activity);
    let result = tokio::select! {
        result = work => result.map_err(Cut::Broken),
        () = visit.activity.idle(model.limits.idle_time) => Err(Cut::Idle),
        () = model.forbids(destination, address) => Err(Cut::Forbidden),
    };
    if let Err(cut) = result {
        reset(writer);
        visit.ended(cut.to_string());
    }
}
