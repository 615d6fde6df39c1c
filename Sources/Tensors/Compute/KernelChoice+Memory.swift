import Glibc

/// How a choice is made at a process's start, and remembered for the next.
///
/// The file is text: what was measured, for which CPU and by which program, and `end`. Whatever is
/// not whole, or of another CPU or build, counts as absent.
extension KernelChoice {
    /// For whom times are valid.
    struct Key: Equatable {
        /// Vendor, family, model and name of the CPU, and the levels that it has here.
        let cpu: String
        /// Name, size and time of change of the program.
        let build: String
    }

    /// The choice of this process, applied. Call it once, before anything computes.
    ///
    /// - Parameter environment: `APUS_CPU` pins one level for all; times are kept in
    ///   `$XDG_CACHE_HOME/apus`, else in `~/.cache/apus`.
    public static func make(_ environment: [String: String]) -> KernelChoice {
        let level = Processor.inUse
        guard environment["APUS_CPU"] == nil else { return KernelChoice(level, origin: .pinned) }
        let available = Processor.allCases.filter(\.isAvailable)
        guard available.count > 1 else { return KernelChoice(level, origin: .only) }
        let key = Key.ofProcess(available)
        let path = folder(environment).map { "\($0)/\(key.fileName)" }
        if let path, let times = remembered(at: path, key),
            times.allSatisfy({ available.contains($0.level) })
        {
            return made(times, level, .remembered(path: path))
        }
        let times = KernelMeasurement().times(available)
        return made(times, level, .measured(unsaved: remember(times, key, at: path)))
    }

    private static func made(
        _ times: [Time], _ level: Processor, _ origin: Origin
    ) -> KernelChoice {
        let choice = KernelChoice(times: times, otherwise: level, origin: origin)
        choice.apply()
        return choice
    }

    /// Where caches of a user's programs are; nil where the environment names no home.
    static func folder(_ environment: [String: String]) -> String? {
        func absolute(_ name: String) -> String? {
            environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        return absolute("XDG_CACHE_HOME").map { $0 + "/apus" }
            ?? absolute("HOME").map { $0 + "/.cache/apus" }
    }

    /// Times that the file holds for a key; nil where it holds none.
    static func remembered(at path: String, _ key: Key) -> [Time]? {
        guard let text = text(at: path) else { return nil }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard text.hasSuffix("\nend\n"), lines.count > 5,
            Array(lines[..<3]) == [heading[...], "cpu \(key.cpu)"[...], "build \(key.build)"[...]]
        else { return nil }
        let times = lines[3 ..< lines.count - 2].map(Self.time)
        return times.contains(nil) ? nil : times.compactMap(\.self)
    }

    /// Keeps times for processes to come: the file appears whole or not at all.
    ///
    /// - Returns: Why it cannot be; nil if it was.
    static func remember(_ times: [Time], _ key: Key, at path: String?) -> String? {
        guard let path else { return "neither XDG_CACHE_HOME nor HOME names a folder" }
        let lines =
            [heading, "cpu \(key.cpu)", "build \(key.build)"] + times.map(\.line) + ["end", ""]
        let bytes = Array(lines.joined(separator: "\n").utf8)
        // Processes of two containers may have one number.
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        do throws(FileError) {
            makeFolders(of: path)
            let file = try FileSink(path: temporary)
            try file.append(bytes)
            try file.flush()
            try file.publish(as: path)
            return nil
        } catch {
            unsafe unlink(temporary)
            return error.description
        }
    }

    private static let heading = "apus kernels 1"
    /// Bytes of a file at most: some 30 lines.
    private static let largestFile = 64 << 10

    /// What cannot be made shows when the file is.
    private static func makeFolders(of path: String) {
        let parts = path.split(separator: "/").dropLast()
        for count in parts.indices {
            unsafe mkdir("/" + parts[...count].joined(separator: "/"), 0o755)
        }
    }

    /// A small file as text; nil where there is none. Files of `/proc` have no size to ask for.
    static func text(at path: String) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: largestFile)
        var count = 0
        while count < bytes.count {
            let got = unsafe bytes.withUnsafeMutableBytes {
                unsafe read(descriptor, $0.baseAddress! + count, $0.count - count)
            }
            guard got > 0 else { break }
            count += got
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    private static func time(_ line: Substring) -> Time? {
        let words = line.split(separator: " ")
        guard words.count == 5, let kind = ProductKind(rawValue: String(words[0])),
            let level = Processor(rawValue: String(words[1])), let bytes = Int(words[2]),
            let one = Double(words[3]), let many = Double(words[4]), bytes > 0,
            one > 0, one.isFinite, many > 0, many.isFinite
        else { return nil }
        return Time(
            kind: kind, level: level, bytes: bytes, oneRowSeconds: one, manyRowsSeconds: many)
    }
}

extension KernelChoice.Time {
    fileprivate var line: String {
        "\(kind.rawValue) \(level.rawValue) \(bytes) \(oneRowSeconds) \(manyRowsSeconds)"
    }
}

extension KernelChoice.Key {
    /// Of this process on this machine.
    static func ofProcess(_ available: [Processor]) -> KernelChoice.Key {
        let facts = KernelChoice.text(at: "/proc/cpuinfo") ?? ""
        var program = stat()
        unsafe stat("/proc/self/exe", &program)
        let name = KernelChoice.text(at: "/proc/self/comm")?.split(separator: "\n").first
        return KernelChoice.Key(
            cpu: Self.model(facts) + " " + available.map(\.rawValue).joined(separator: ","),
            build: "\(name ?? "?") \(program.st_size) \(program.st_mtim.tv_sec)")
    }

    /// What `/proc/cpuinfo` says of the first CPU's model, on x86 and on Arm.
    static func model(_ facts: String) -> String {
        let names = [
            "vendor_id", "cpu family", "model", "stepping", "model name", "CPU implementer",
            "CPU part", "CPU variant",
        ]
        var found: [String: Substring] = [:]
        for line in facts.split(separator: "\n") {
            let halves = line.split(separator: ":", maxSplits: 1)
            let name = halves[0].split(whereSeparator: \.isWhitespace).joined(separator: " ")
            guard halves.count == 2, found[name] == nil else { continue }
            found[name] = halves[1]
        }
        return names.compactMap { found[$0] }.flatMap { $0.split(separator: " ") }
            .joined(separator: " ")
    }

    /// One file per program and CPU, so that machines which share a home keep their own.
    var fileName: String {
        // FNV-1a: short, and the file's content is compared whole.
        let hash = cpu.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        let program = build.prefix { $0 != " " }.map { $0 == "/" ? "-" : $0 }
        return "kernels-\(String(program))-\(String(hash, radix: 16)).txt"
    }
}
