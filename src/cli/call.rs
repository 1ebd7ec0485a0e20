//! `holdline call`: a pretend phone network, against any server.
use super::Exit;
use super::arguments::CallArguments;
pub(super) fn run(_arguments: &CallArguments) -> Exit {
    Exit::NotSo
}
