# PowerShell completion of toolrt.
# @GENERATED@ Do not edit.
#
# Nothing here evaluates what stands on the line or what toolrt prints.

Register-ArgumentCompleter -Native -CommandName toolrt -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # An option without a value has no key Kind; the session may forbid to ask for it.
    Set-StrictMode -Off

    $globalOptions = @(
@GLOBAL@
    )
    $fields = [ordered]@{
@FIELDS@
    }
    $commands = @{
@COMMANDS@
    }

    $word = ([string]$wordToComplete).TrimStart([char[]]"'`"")
    $config = @()
    $tool = ''

    # Writes one completion where it begins as the word under the cursor does.
    function Write-Completion([string]$Text, [string]$About) {
        if (-not $Text.StartsWith($word, [StringComparison]::Ordinal)) { return }
        $typed = $Text
        if ($Text -notmatch '^[\w./:=+-][\w./:=+@-]*$') {
            $typed = "'" + $Text.Replace("'", "''") + "'"
        }
        if (-not $About) { $About = $Text }
        [System.Management.Automation.CompletionResult]::new($typed, $Text, 'ParameterValue', $About)
    }

    # Writes the names that toolrt prints for a kind, and for arguments the tool.
    function Write-Names([string]$Before, [string]$About, [string[]]$Asked) {
        $code = $global:LASTEXITCODE
        $names = @(& toolrt @config __complete @Asked 2>$null)
        $global:LASTEXITCODE = $code
        foreach ($name in $names) { Write-Completion "$Before$name" $About }
    }

    function Write-Files([string]$Before) {
        $part = $word.Substring($Before.Length)
        foreach ($file in [System.Management.Automation.CompletionCompleters]::CompleteFilename($part)) {
            $path = $file.CompletionText
            if ($path -match "^'(.*)'$") { $path = $Matches[1].Replace("''", "'") }
            $typed = "$Before$path"
            if ($typed -notmatch '^[\w./\\:=+~-][\w./\\:=+@~-]*$') {
                $typed = "'" + $typed.Replace("'", "''") + "'"
            }
            [System.Management.Automation.CompletionResult]::new($typed, $file.ListItemText, $file.ResultType, $file.ToolTip)
        }
    }

    # Writes what a value can be; $Before stands before it in the same word.
    function Write-Values($Value, [string]$Before) {
        switch ($Value.Kind) {
            'text' { }
            'words' { foreach ($found in $Value.Words) { Write-Completion "$Before$found" $Value.Name } }
            'file' { Write-Files $Before }
            'json' { if ($word.StartsWith("$Before@")) { Write-Files "$Before@" } }
            'arguments' {
                if ($word -match '^([^=@]*)[=@]') {
                    if (-not $Matches[1].EndsWith(':')) { Write-Files $Matches[0] }
                } else {
                    Write-Names '' $Value.Name 'arguments', $tool
                }
            }
            'filters' {
                $Before = ''
                if ($word.StartsWith('not:')) { $Before = 'not:' }
                $field = $word.Substring($Before.Length).Split('=')[0]
                if (-not $word.Contains('=')) {
                    foreach ($name in $fields.Keys) { Write-Completion "$Before$name=" $fields[$name].Help }
                } elseif ($fields.Contains($field) -and $fields[$field].Kind -ne 'text') {
                    Write-Names "$Before$field=" $field $fields[$field].Kind
                }
            }
            default { Write-Names $Before $Value.Name $Value.Kind }
        }
    }

    function Find-Option($Command, [string]$Name) {
        foreach ($option in $Command.Options + $globalOptions) {
            if ($option.Names -ccontains $Name) { return $option }
        }
    }

    $path = ''
    $place = 0
    $isEnded = $false
    $pending = $null
    $pendingName = ''
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $text = $element.Extent.Text
        if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $text = $element.Value }
        if ($pending) {
            if ($pendingName -ceq '--config') { $config = @('--config', $text) }
            $pending = $null
        } elseif (-not $isEnded -and $text -eq '--') {
            $isEnded = $true
        } elseif (-not $isEnded -and $text -match '^--[^=]+=') {
            if ($text.StartsWith('--config=')) { $config = @($text) }
        } elseif (-not $isEnded -and $text -match '^-.') {
            $option = Find-Option $commands[$path] $text
            if ($option -and $option.Kind) { $pending = $option; $pendingName = $text }
        } elseif ($place -eq 0 -and $commands[$path].Commands.Contains($text)) {
            $path = "$path $text".Trim()
        } else {
            if ($place -eq 0) { $tool = $text }
            $place++
        }
    }

    $command = $commands[$path]
    $before = ''
    if (-not $pending -and -not $isEnded -and $word -match '^(--[^=]+)=') {
        $before = $Matches[0]
        $option = Find-Option $command $Matches[1]
        if ($option -and $option.Kind) { $pending = $option }
    }
    if ($pending) {
        Write-Values $pending $before
    } elseif (-not $isEnded -and $word.StartsWith('-') -and -not $word.Contains('=')) {
        $own = @($command.Options | ForEach-Object { $_.Names })
        $others = @($globalOptions | Where-Object { $own -cnotcontains $_.Names[0] })
        foreach ($option in $command.Options + $others) {
            foreach ($name in $option.Names) { Write-Completion $name $option.Help }
        }
    } elseif ($command.Commands.Count -gt 0) {
        if ($place -eq 0) {
            foreach ($name in $command.Commands.Keys) { Write-Completion $name $command.Commands[$name] }
        }
    } else {
        $arguments = $command.Arguments
        if ($place -lt $arguments.Count) {
            Write-Values $arguments[$place] ''
        } elseif ($arguments.Count -gt 0 -and $arguments[-1].IsRepeated) {
            Write-Values $arguments[-1] ''
        }
    }
}
