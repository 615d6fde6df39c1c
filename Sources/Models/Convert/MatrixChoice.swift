import Checkpoints
import Encoding

/// Which matrices of a checkpoint a conversion is to take.
struct MatrixChoice {
    let target: FormatConversion.Target
    /// The modules that are named, in place of the target's own choice.
    let only: [NamePattern]

    /// Whether a matrix of this name is to be converted.
    func includes(_ name: String) -> Bool {
        guard only.isEmpty else {
            return takes(name) && only.contains { $0.matches(NetworkTensor.module(name)) }
        }
        switch target {
        case .bfloat16: return true
        case .float8: return Architectures.isProjection(name)
        case .int4, .mxfp4: return Architectures.isExpertProjection(name)
        }
    }

    /// Whether the network reads a matrix of this name in the target's format: never tables, norms
    /// and routers, and in 4 bits what `Quantization.form(of:)` gives such a format.
    private func takes(_ name: String) -> Bool {
        switch target {
        case .bfloat16: true
        case .float8: Architectures.isLinear(name)
        case .int4, .mxfp4:
            Architectures.isProjection(name) || NetworkTensor.module(name).hasSuffix("lm_head")
        }
    }

    /// Refuses a name that names nothing to convert, and notes what names take in and is left.
    func check(_ checkpoint: Checkpoint, note: (String) -> Void) throws {
        guard !only.isEmpty else { return }
        let names = checkpoint.tensors.values.compactMap { Self.matrixName($0.entry) }.sorted()
        var left: Set<String> = []
        for pattern in only {
            let named = names.filter { pattern.matches(NetworkTensor.module($0)) }
            let others = named.filter { !takes($0) }
            guard named.count > others.count else {
                let kept = others.first.map { "; \($0.printable()) cannot" } ?? ""
                throw ModelError.request(
                    "\(pattern.text.printable(limit: 80)) names no matrix that can become "
                        + "\(target.rawValue)\(kept)")
            }
            left.formUnion(others)
        }
        guard let first = left.min() else { return }
        note(
            "\(left.count) named \(left.count == 1 ? "matrix is" : "matrices are") left out, "
                + "\(first.printable()) for one: no such matrix is read in \(target.rawValue)")
    }

    /// The plain name of a matrix, nil for a tensor that is none.
    private static func matrixName(_ entry: TensorEntry) -> String? {
        guard entry.shape.count == 2 else { return nil }
        return FourBitMatrix.matrixName(ofCodes: entry.name)
            ?? (entry.name.hasSuffix(".weight") ? entry.name : nil)
    }
}

extension Architectures {
    /// Whether a matrix of this name is a table or a router, which compressed-tensors does not
    /// call Linear.
    static func isTableOrGate(_ name: String) -> Bool {
        all.contains {
            name.hasSuffix($0.tensorNames.mtp.embedding) || name.hasSuffix($0.tensorNames.gate)
        }
    }
}
