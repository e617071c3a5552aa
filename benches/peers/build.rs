//! With the feature `rocksdb`: compiles `src/peers/rocksdb.cc` and what it needs of RocksDB, whose source is where `ROCKSDB_DIR` says.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "rocksdb")]
    rocksdb();
}

#[cfg(feature = "rocksdb")]
fn rocksdb() {
    const SHIM: &str = "src/peers/rocksdb.cc";
    const PARTS: [&str; 6] = [
        "memory/arena.cc",
        "memory/concurrent_arena.cc",
        "port/mmap.cc",
        "port/port_posix.cc",
        "util/coding.cc",
        "util/random.cc",
    ];
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-env-changed=ROCKSDB_DIR");
    let source =
        std::env::var_os("ROCKSDB_DIR").expect("the feature `rocksdb` needs ROCKSDB_DIR: a checkout of RocksDB");
    let source = std::path::Path::new(&source);
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .opt_level(3)
        .define("NDEBUG", None)
        .define("ROCKSDB_PLATFORM_POSIX", None)
        .define("ROCKSDB_LIB_IO_POSIX", None)
        .define("OS_LINUX", None)
        // What is not called of these files, is not linked, and neither is what it would need.
        .flag("-ffunction-sections")
        .flag("-fdata-sections")
        .include(source)
        .include(source.join("include"))
        .file(SHIM)
        .files(PARTS.map(|part| source.join(part)))
        .compile("peers_rocksdb");
}
