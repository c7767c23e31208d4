//! TCP: all addresses of a host raced with a head start, so that a black hole among them costs a
//! quarter of a second and not the whole deadline (RFC 8305 in its simplest form).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Head start of an address over the next one.
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses that are tried.
const MAX_ADDRESSES: usize = 8;
/// TCP keepalive: the net under the WebSocket pings.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Connects to the first address of `host` that answers; `TCP_NODELAY` and keepalive are set.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut waiting = interleave(lookup_host((host, port)).await?.collect()).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(address));
        }
        let head_start = match waiting.len() {
            0 => Duration::MAX,
            _ => HEAD_START,
        };
        match timeout(head_start, attempts.next()).await {
            Ok(Some(Ok(stream))) => return prepare(stream),
            Ok(Some(Err(error))) => last = error,
            Ok(None) => return Err(last),
            // The next address joins the race.
            Err(_) => {}
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// Orders addresses so that the two families alternate, beginning with the first one given.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut ordered = Vec::new();
    for address in first {
        ordered.push(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_alternate() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let ordered = interleave(vec![
            parse("[::1]:1"),
            parse("[::2]:1"),
            parse("1.1.1.1:1"),
            parse("2.2.2.2:1"),
            parse("3.3.3.3:1"),
        ]);
        let text: Vec<String> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "3.3.3.3:1"]
        );
    }

    #[tokio::test]
    async fn a_host_whose_first_address_refuses_is_reached_on_another() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // `localhost` resolves to ::1 as well where the system has it; nothing listens there.
        let stream = connect("localhost", port).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
