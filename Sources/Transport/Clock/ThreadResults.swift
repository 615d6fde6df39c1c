import Synchronization

/// Collects what several threads produce, in their order.
final class ThreadResults<Value: Sendable>: Sendable {
    private let slots: Mutex<[Result<Value, TransportError>?]>

    init(count: Int) { slots = Mutex(Array(repeating: nil, count: count)) }

    func store(_ index: Int, _ body: () throws(TransportError) -> Value) {
        let result = Result { () throws(TransportError) in try body() }
        slots.withLock { $0[index] = result }
    }

    /// The values, or the first error in order.
    func all() throws(TransportError) -> [Value] {
        let slots = slots.withLock { $0 }
        var values: [Value] = []
        for slot in slots {
            guard let slot else { preconditionFailure("a thread ended without a result") }
            values.append(try slot.get())
        }
        return values
    }
}
