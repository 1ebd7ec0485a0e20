//! Which process has a port, for whoever finds it taken. Where the system does not tell (it is not Linux, or the process
//! is another user's) nobody is named.

use std::fs;

/// `name (process 7)`, if some process that we may look at listens on this port.
pub fn of_port(port: u16) -> Option<String> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().flat_map(|table| listening(table, port)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holder = numbers.into_iter().find(|process| holds(*process, &inodes))?;
    let name = fs::read_to_string(format!("/proc/{holder}/comm")).unwrap_or_default();
    Some(format!("{} (process {holder})", name.trim()))
}

/// The inodes of the sockets that listen on this port.
fn listening(table: &str, port: u16) -> Vec<String> {
    let text = fs::read_to_string(table).unwrap_or_default();
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, its) = local.rsplit_once(':')?;
        (u16::from_str_radix(its, 16) == Ok(port) && *state == LISTENING).then(|| (*inode).to_owned())
    };
    text.lines().filter_map(of_line).collect()
}

fn holds(process: u32, inodes: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| {
        let file = file.to_string_lossy();
        let inode = file.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
    })
}

const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_named_and_nobody_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = format!("(process {})", std::process::id());
        assert!(of_port(port).is_some_and(|holder| holder.ends_with(&own)), "{:?}", of_port(port));
        drop(listener);
        assert_eq!(of_port(0), None);
    }
}
