//! A learning switch, made of the daemon's connection and codec.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Result, ensure};
use edgecloudd::ovs::Connection;
use openflow::{
    Action, Field, Flow, FlowMod, Instructions, Match, Message, PacketIn, PacketOut, PortNumber,
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How much is read at once.
const READ: usize = 65_536;
/// Seconds without a packet until a flow goes: ovs-testcontroller's.
const IDLE: u16 = 60;
/// The most addresses of a switch, as ovs-testcontroller's.
const ADDRESSES_MAX: usize = 2048;

/// Serves switches on a port of the loopback, which it prints.
///
/// # Errors
/// No port.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = Switch::default().speak(socket).await {
                eprintln!("a switch went: {error}");
            }
        });
    }
}

/// One switch.
#[derive(Default)]
struct Switch {
    connection: Connection,
    greeted: bool,
    /// At which port an address was seen last.
    ports: HashMap<[u8; 6], PortNumber>,
}

impl Switch {
    async fn speak(mut self, mut socket: TcpStream) -> Result<()> {
        let mut bytes = vec![0; READ];
        loop {
            let read = exchange(&mut socket, &mut self.connection, &mut bytes).await?;
            ensure!(read > 0, "it closed the connection");
            self.connection
                .receive(bytes.get(..read).unwrap_or_default())?;
            self.answer()?;
        }
    }

    fn answer(&mut self) -> Result<()> {
        if self.connection.is_agreed() && !self.greeted {
            self.greeted = true;
            self.connection.send(&Message::FeaturesRequest)?;
            // What no flow matches comes here.
            let up = Instructions::apply(vec![Action::output(PortNumber::CONTROLLER)]);
            let miss = Flow::new(0, 0, Match::new(), up);
            self.connection
                .send(&Message::FlowMod(FlowMod::add(miss)))?;
        }
        while let Some((_, message)) = self.connection.next_message() {
            if let Message::PacketIn(packet) = message {
                self.packet(packet)?;
            }
        }
        Ok(())
    }

    /// Learns where the source is; a flow to where the target is, if that is known, and the packet on
    /// its way.
    fn packet(&mut self, packet: PacketIn) -> Result<()> {
        let Some((target, rest)) = packet.data.split_first_chunk::<6>() else {
            return Ok(());
        };
        let (Some(source), Some(port)) =
            (rest.first_chunk::<6>(), packet.metadata.get(Field::InPort))
        else {
            return Ok(());
        };
        // The field has 32 bits.
        let port = PortNumber(port.value as u32);
        let is_group = source[0] & 1 != 0;
        if !is_group && (self.ports.len() < ADDRESSES_MAX || self.ports.contains_key(source)) {
            self.ports.insert(*source, port);
        }
        let to = self.ports.get(target).copied();
        if to == Some(port) {
            return Ok(());
        }
        if let Some(to) = to {
            let matching = Match::new().in_port(port).eth_dst(*target).eth_src(*source);
            let out = Instructions::apply(vec![Action::output(to)]);
            let mut add = FlowMod::add(Flow::new(0, 1, matching, out));
            add.idle_timeout = IDLE;
            self.connection.send(&Message::FlowMod(add))?;
        }
        let out = Action::output(to.unwrap_or(PortNumber::FLOOD));
        let packet = PacketOut::new(port, vec![out], packet.data);
        self.connection.send(&Message::PacketOut(packet))?;
        Ok(())
    }
}

/// Writes all that the socket takes, and waits for something to read.
async fn exchange(
    socket: &mut TcpStream,
    connection: &mut Connection,
    bytes: &mut [u8],
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut socket = Pin::new(&mut *socket);
        while !connection.outgoing().is_empty() {
            match socket.as_mut().poll_write(context, connection.outgoing()) {
                Poll::Ready(sent) => connection.sent(sent?),
                Poll::Pending => break,
            }
        }
        let mut buffer = ReadBuf::new(&mut *bytes);
        let read = socket.poll_read(context, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    })
    .await
}
