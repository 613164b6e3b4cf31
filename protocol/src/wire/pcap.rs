//! What was recorded, as a capture that Wireshark opens (pcapng).
//!
//! The frames are those that went by; the TCP and IP around them are made up: the hub has an address for documentation
//! and the port 80, by which its protocol is recognised, and every frame is a segment of its own. What was
//! left out, and what of a payload was not kept, is missing in the capture as well, at its place.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::HashMap;

use super::{Event, Handshake, Record, Side};
use crate::time::Timestamp;
use crate::viewer::EndedBy;

/// Bytes of payload in one segment: below what an IP packet may hold.
const SEGMENT: u64 = 32 * 1024;
/// Packets begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
const PORT: u16 = 80;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Writes one capture.
#[derive(Debug, Default)]
pub struct Capture {
    connections: HashMap<String, Connection>,
}

#[derive(Debug)]
struct Connection {
    device: (IpAddr, u16),
    hub: (IpAddr, u16),
    /// Of each side: the number of its first byte after the upgrade, and that of its next one.
    base: [u32; 2],
    next: [u32; 2],
}

const fn place(side: Side) -> usize {
    match side {
        Side::Device => 0,
        Side::Hub => 1,
    }
}

impl Capture {
    /// What a file begins with.
    pub fn head() -> Vec<u8> {
        let mut out = Vec::new();
        // Section header: byte order, version 1.0, length unknown.
        let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend([0xff; 8]);
        block(&mut out, 0x0a0d_0d0a, &body);
        // Interface: times in microseconds, which is the default; no limit of length.
        let mut body = LINKTYPE_RAW.to_le_bytes().to_vec();
        body.extend([0; 6]);
        block(&mut out, 1, &body);
        out
    }

    /// What a record adds to it.
    pub fn record(&mut self, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        match &record.event {
            Event::Opened(handshake) => self.opened(&mut out, &record.session, handshake),
            Event::Frame(frame) => {
                if let Some(connection) = self.connections.get_mut(&record.session) {
                    let place = place(frame.from);
                    connection.next[place] = connection.base[place].wrapping_add(frame.offset as u32);
                    connection.send(&mut out, record.at, frame.from, &frame.bytes(), frame.length());
                }
            }
            Event::Ended(ended) => {
                if let Some(mut connection) = self.connections.remove(&record.session) {
                    let first = match ended.by {
                        EndedBy::Device => Side::Device,
                        EndedBy::Hub => Side::Hub,
                        EndedBy::Lost => {
                            connection.flag(&mut out, record.at, Side::Device, RST | ACK);
                            return out;
                        }
                    };
                    connection.flag(&mut out, record.at, first, FIN | ACK);
                    connection.flag(&mut out, record.at, first.other(), FIN | ACK);
                    connection.flag(&mut out, record.at, first, ACK);
                }
            }
        }
        out
    }

    fn opened(&mut self, out: &mut Vec<u8>, session: &str, handshake: &Handshake) {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let device = handshake.address.parse().unwrap_or(nowhere);
        let hub = match device.ip().to_canonical() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        };
        let mut connection = Connection {
            device: (device.ip().to_canonical(), device.port()),
            hub: (hub, PORT),
            base: [0; 2],
            next: [1_000, 5_000],
        };
        let at = handshake.accepted_at;
        connection.flag(out, at, Side::Device, SYN);
        connection.flag(out, at, Side::Hub, SYN | ACK);
        connection.flag(out, at, Side::Device, ACK);
        for (at, side, head) in [
            (handshake.requested_at, Side::Device, &handshake.request),
            (handshake.upgraded_at, Side::Hub, &handshake.response),
        ] {
            connection.send(out, at, side, head.as_bytes(), head.len() as u64);
        }
        connection.base = connection.next;
        self.connections.insert(session.to_owned(), connection);
    }
}

impl Connection {
    /// Sends `length` bytes, of which those at the start are known.
    fn send(&mut self, out: &mut Vec<u8>, at: Timestamp, from: Side, known: &[u8], length: u64) {
        let mut start = 0;
        while start < length {
            let size = SEGMENT.min(length - start);
            let from_here = known.get(start as usize..).unwrap_or_default();
            let part = from_here.get(..size as usize).unwrap_or(from_here);
            if part.is_empty() {
                self.next[place(from)] = self.next[place(from)].wrapping_add((length - start) as u32);
                return;
            }
            self.packet(out, at, from, PSH | ACK, part, size as u32);
            start += size;
        }
    }

    fn flag(&mut self, out: &mut Vec<u8>, at: Timestamp, from: Side, flags: u8) {
        self.packet(out, at, from, flags, &[], 0);
    }

    /// One packet with `size` bytes, of which `known` are in the capture.
    fn packet(&mut self, out: &mut Vec<u8>, at: Timestamp, from: Side, flags: u8, known: &[u8], size: u32) {
        let (source, target) = match from {
            Side::Device => (self.device, self.hub),
            Side::Hub => (self.hub, self.device),
        };
        let number = self.next[place(from)];
        let acknowledged = if flags & ACK == 0 { 0 } else { self.next[place(from.other())] };
        let counts = u32::from(flags & (SYN | FIN) != 0);
        self.next[place(from)] = number.wrapping_add(size).wrapping_add(counts);

        let mut tcp = Vec::with_capacity(20 + known.len());
        tcp.extend(source.1.to_be_bytes());
        tcp.extend(target.1.to_be_bytes());
        tcp.extend(number.to_be_bytes());
        tcp.extend(acknowledged.to_be_bytes());
        tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(known);
        let length = 20 + size;
        let pseudo = match (source.0, target.0) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                [source.octets().as_slice(), &target.octets(), &[0, 6], &(length as u16).to_be_bytes()]
                    .concat()
            }
            (source, target) => {
                [v6(source).as_slice(), &v6(target), &length.to_be_bytes(), &[0, 0, 0, 6]].concat()
            }
        };
        // Of a packet that is not whole nobody can check it.
        if known.len() == size as usize {
            let sum = checksum(&[pseudo, tcp.clone()].concat());
            tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        }
        let mut packet = match (source.0, target.0) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let mut ip = vec![0x45, 0];
                ip.extend((20 + length as u16).to_be_bytes());
                ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
                ip.extend(source.octets());
                ip.extend(target.octets());
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                ip
            }
            (source, target) => {
                let mut ip = vec![0x60, 0, 0, 0];
                ip.extend((length as u16).to_be_bytes());
                ip.extend([6, 64]);
                ip.extend(v6(source));
                ip.extend(v6(target));
                ip
            }
        };
        let original = packet.len() as u32 + length;
        packet.extend(tcp);

        let micros = at.micros().unsigned_abs();
        let mut body = 0_u32.to_le_bytes().to_vec();
        body.extend(((micros >> 32) as u32).to_le_bytes());
        body.extend((micros as u32).to_le_bytes());
        body.extend((packet.len() as u32).to_le_bytes());
        body.extend(original.to_le_bytes());
        body.extend(&packet);
        block(out, 6, &body);
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A block of pcapng: its type, its length, its body filled up to four bytes, its length again.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let filled = body.len().next_multiple_of(4);
    let length = (12 + filled) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(body);
    out.extend(std::iter::repeat_n(0, filled - body.len()));
    out.extend(length.to_le_bytes());
}

/// The checksum of the internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or_default()) << 8;
        sum += high + u32::from(pair.get(1).copied().unwrap_or_default());
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
