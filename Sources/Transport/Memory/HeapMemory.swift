import CFabric

/// The heap of this process.
package enum HeapMemory {
    /// Gives what the heap holds and nobody uses back to the system.
    ///
    /// The heap keeps what it was given once. It takes a few milliseconds after large requests.
    package static func giveBack() { fabric_trim_heap() }
}
