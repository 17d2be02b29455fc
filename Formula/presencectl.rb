# Homebrew looks for formulas in the folder Formula of a repository:
#   brew tap OWNER/presencectl ADDRESS && brew install --HEAD presencectl
# Each release has a copy in which the comment below is replaced by the address and the checksum of its sources.
class Presencectl < Formula
  desc "Command-line for user presence on Stream Chat, with a mock server"
  homepage "https://github.com/presencectl/presencectl"
  # url and sha256 of a release
  license "MIT"
  head "https://github.com/presencectl/presencectl.git", branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    bash_completion.install "completions/presencectl.bash" => "presencectl"
    zsh_completion.install "completions/_presencectl"
    fish_completion.install "completions/presencectl.fish"
    system bin/"presencectl", "man", "--dir", buildpath/"man"
    man1.install Dir["man/*.1"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/presencectl --version")
    output = shell_output("#{bin}/presencectl mock exec -- #{bin}/presencectl set-user amy --jq .id")
    assert_equal "amy\n", output
  end
end
