import Topology

extension JobFile {
    /// Renames keys of the version before, which are read for this version still.
    ///
    /// 0.1.0 had `training`, the settings of a run, and `model` was then the training file.
    static func readFormerKeys(_ written: inout [String: Any], path: String) throws(ClusterError) {
        guard let settings = written["training"] else { return }
        guard written["train"] == nil else {
            throw .badInput("\(path): train and training: the second is the old name of the first")
        }
        guard settings is [String: Any] else {
            throw .badInput("\(path): training is not a mapping")
        }
        guard let file = written["model"] as? String, !file.isEmpty else {
            throw .badInput("\(path): model, the training file of a job with training, is missing")
        }
        written["training"] = nil
        written["model"] = nil
        written["train"] = ["file": file, "settings": settings]
        StandardStream.error.say(
            "\(path): training: is called train: {file: ..., settings: ...} now; the old name is"
                + " read by version \(ApusVersion.current), and not by the next\n")
    }
}
