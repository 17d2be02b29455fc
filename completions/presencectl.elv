set edit:completion:arg-completer[presencectl] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) PRESENCECTL_COMPLETE="elvish" presencectl -- $@words) | to-lines
}
