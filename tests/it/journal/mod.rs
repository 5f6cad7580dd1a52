//! Nothing accepted is ever lost: the binary itself, killed, restarted, and given bad disks.

mod clocks;
mod crash;
mod damage;
mod disk;
mod faults;
mod files;
mod floods;
mod mount;
mod restart;
mod restore;
mod service;
mod subscriber;
mod tools;
