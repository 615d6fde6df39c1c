import Encoding
import Foundation
import Synchronization
public import Yams

/// Files of settings that people write: read whole, within a limit of bytes and of time, whatever
/// the path names.
///
/// A pipe may stay open, a device may never end, a file system may hang, and a few lines of YAML
/// may stand for billions of values. None of them holds a program up for longer than `deadline`.
public enum InputFile {
    /// Bytes of a file of settings, which people write by hand.
    static let largestBytes = 1 << 20
    /// For the last byte to come: long beside a slow file system, short for a person who waits.
    static let deadline = Duration.seconds(10)
    /// Values of a file once its aliases are followed; the largest files of this package have some
    /// hundreds.
    static let mostValues = 100_000

    /// The text of a file, a pipe or a device.
    ///
    /// - Throws: `InputError`, which leaves the path to the caller.
    public static func text(of path: String) throws(InputError) -> String {
        try text(of: path, within: deadline)
    }

    static func text(of path: String, within deadline: Duration) throws(InputError) -> String {
        let bytes = try within(deadline, "it gave no end of file") { () throws(InputError) in
            try read(path)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The YAML of a text, whose aliases stand for a bounded number of values.
    ///
    /// - Throws: `InputError`, or what Yams says of the text.
    public static func compose(_ yaml: String) throws -> Node? {
        // Yams compares the keys of a mapping, and a key may be an alias of aliases.
        try within(deadline, "its YAML was not read") { () throws(InputError) in
            guard let root = try? Yams.compose(yaml: yaml) else { return }
            var left = mostValues
            try count(root, &left)
        }
        return try Yams.compose(yaml: yaml)
    }

    private static func read(_ path: String) throws(InputError) -> Data {
        do {
            let handle = try FileHandle(forReadingFrom: URL(filePath: path))
            defer { try? handle.close() }
            var bytes = Data()
            while let piece = try handle.read(upToCount: 1 << 16), !piece.isEmpty {
                bytes += piece
                guard bytes.count <= largestBytes else {
                    throw InputError(
                        "it has more than \(largestBytes) bytes, the limit of such a file")
                }
            }
            return bytes
        } catch let error as InputError {
            throw error
        } catch {
            throw InputError(FileFault(why: path).description)
        }
    }

    private static func count(_ node: Node, _ left: inout Int) throws(InputError) {
        left -= 1
        guard left > 0 else {
            throw InputError(
                "its YAML stands for more than \(mostValues) values (aliases are followed)")
        }
        switch node {
        case .mapping(let mapping):
            for (key, value) in mapping {
                try count(key, &left)
                try count(value, &left)
            }
        case .sequence(let sequence): for value in sequence { try count(value, &left) }
        case .scalar, .alias: break
        }
    }

    /// Does work on a thread of its own, and gives it up when its time is over.
    private static func within<Value: Sendable>(
        _ deadline: Duration, _ missed: String,
        _ work: @escaping @Sendable () throws(InputError) -> Value
    ) throws(InputError) -> Value {
        let answer = Answer<Value>()
        let thread = Thread { answer.give { () throws(InputError) in try work() } }
        // YAML nests as deep as it has bytes, and its reader calls itself.
        thread.stackSize = 64 << 20
        thread.start()
        guard let result = answer.wait(deadline) else {
            throw InputError("\(missed) within \(deadline)")
        }
        return try result.get()
    }

    /// Carries a result from one thread to another that may have left.
    private final class Answer<Value: Sendable>: Sendable {
        private let value = Mutex<Result<Value, InputError>?>(nil)
        private let isThere = DispatchSemaphore(value: 0)

        func give(_ work: () throws(InputError) -> Value) {
            let result = Result { () throws(InputError) in try work() }
            value.withLock { $0 = result }
            isThere.signal()
        }

        func wait(_ limit: Duration) -> Result<Value, InputError>? {
            let seconds =
                Double(limit.components.seconds)
                + Double(limit.components.attoseconds) / 1e18
            guard isThere.wait(timeout: .now() + seconds) == .success else { return nil }
            return value.withLock { $0 }
        }
    }
}

/// Why a file of settings cannot be read, without its name.
public struct InputError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The fact and the limit.
    public let description: String

    init(_ description: String) { self.description = description }
}
