import CFabric

/// Ties this process to the one that started it, so that a killed launcher leaves no ranks behind.
public enum ParentProcess {
    /// Ends this process when its parent ends, however that ends.
    public static func followIntoDeath() { fabric_die_with_parent() }
}
